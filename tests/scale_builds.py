"""One small build for the tests of stages and accidents, and what it leaves behind."""

import pathlib
import sys

import numpy as np
import PIL.Image

from data_prep.build import build
from tests import data_prep_cohort as cohort

PATIENTS, SIZE_PX = 24, 64
REPOSITORY = pathlib.Path(__file__).parents[1]


def write_inputs(root: pathlib.Path) -> pathlib.Path:
    """24 patients in slices of noise; 2's are nearly those of 1, and one file is no picture."""
    cohort.write_slices(root, PATIENTS, SIZE_PX, sequences=("T1",))
    folder = root / "04_Intermediary_Ground_Truth_Data" / "T1_Output"
    for disc in cohort.DISCS:
        image = np.array(PIL.Image.open(folder / f"T1_0001_{disc}.png"))
        image[30, 30] ^= 1
        PIL.Image.fromarray(image).save(folder / f"T1_0002_{disc}.png")
    (folder / "T1_0009_D4.png").write_bytes(b"no picture")
    cohort.write_reports(root / "reports.csv", PATIENTS)
    (root / "key").write_text("ab" * 32)
    return root


# With this seed, patients 1 and 2 are drawn into different splits, so one of them moves.
OPTIONS = {"split_shares": "train=0.5,test=0.5", "seed": 0, "size_px": SIZE_PX, "shard_records": 6}
FLAGS = ["--splits=train=0.5,test=0.5", "--seed=0", f"--size_px={SIZE_PX}", "--shard_records=6"]


def build_from(inputs, out, **options):
    options = OPTIONS | {"key_file": inputs / "key"} | options
    return build(inputs, inputs / "reports.csv", out, **options)


def command(inputs, out, *more) -> list[str]:
    given = [f"--images={inputs}", f"--reports={inputs / 'reports.csv'}", f"--out={out}"]
    module = [sys.executable, "-m", "data_prep.build"]
    return [*module, *given, f"--key_file={inputs / 'key'}", *FLAGS, *more]


def content(out) -> dict[str, bytes]:
    """The bytes of a data set and of the two tables beside it."""
    tables = [out.with_name(f"{out.name}.{table}.csv") for table in ("dropped", "splits")]
    paths = [*out.iterdir(), *tables]
    return {path.name.removeprefix(out.name): path.read_bytes() for path in paths}


def leftovers(out) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(".")]


def undisturbed_content(inputs: pathlib.Path, out: pathlib.Path) -> dict[str, bytes]:
    """The bytes of a build that nothing disturbs."""
    manifest = build_from(inputs, out)
    assert manifest["look_alikes"]["pairs"] == 1
    assert manifest["dropped_by_reason"] == {"unreadable_image": 1}
    assert not leftovers(out)
    return content(out)
