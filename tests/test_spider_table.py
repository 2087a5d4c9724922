"""SPIDER's gradings as a table of one row an image: what each label is, and that it builds."""

import collections
import csv
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from data_prep import spider_table
from data_prep.build import build
from data_prep.verify import verify
from lumbarclip_jax.data.dataset import Dataset
from tests import spider_folder as made_up


def grades(label, **said):
    """A row of the gradings: a healthy disc but for what is said."""
    row = dict.fromkeys(made_up.COLUMNS, 0) | {
        "Patient": 7,
        "Pfirrman grade": 2,
        "IVD label": label,
    }
    return tuple((row | {name.replace("_", " "): value for name, value in said.items()}).values())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for patient, names in {7: ("t1", "t2_SPACE"), 8: ("t1",), 9: ("t2",)}.items():
        for name in names:
            pixels = np.random.default_rng(patient).integers(0, 256, (16, 12), np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "images" / f"{patient}_{name}.png")
    (tmp_path / "images" / "notes.txt").touch()
    return tmp_path


def labels(folder, *rows):
    """patient -> the labels of its last image."""
    made_up.write_gradings(folder / "radiological_gradings.csv", rows)
    return {row["patient"]: row for row in spider_table.rows_of(folder)[0]}


def test_each_label_is_what_its_page_says(folder):
    found = labels(
        folder,
        grades(1, Disc_herniation=1, Pfirrman_grade=4),
        grades(2, Modic=2),
        grades(3, Pfirrman_grade=3, Disc_narrowing=""),
        grades(4, Modic=3, Disc_bulging=1, Pfirrman_grade=5),  # above the three
    )["7"]
    assert found == {
        "path": "images/7_t2_SPACE.png",
        "patient": "7",
        "plane": "sagittal",
        "sequence": "T2",
        "pfirrmann_l3_l4": 3,
        "pfirrmann_l4_l5": 2,
        "pfirrmann_l5_s1": 4,
        "worst_pfirrmann": 4,
        "herniation": 1,
        "narrowing": 0,
        "bulging": 0,
        "vertebral_slip": 0,
        "modic": 2,
        "lbp": 1,
    }


@pytest.mark.parametrize(
    ("said", "lbp"),
    [({}, 0), ({"Pfirrman_grade": 5}, 0), ({"UP_endplate": 1}, 1), ({"Spondylolisthesis": 1}, 1)],
)
def test_any_finding_at_any_disc_is_back_pain(said, lbp, folder):
    assert labels(folder, grades(1), grades(6, **said))["7"]["lbp"] == lbp


def test_pfirrmann_is_of_patients_with_a_t2_and_blanks_stay_blank(folder):
    row = dict(zip(made_up.COLUMNS, grades(1, Disc_bulging=""), strict=True))
    rows = [tuple((row | {"Patient": patient}).values()) for patient in (8, 9)]
    found = labels(folder, *rows)
    assert [found[patient]["worst_pfirrmann"] for patient in "89"] == ["", 2]
    assert found["9"]["pfirrmann_l4_l5"] == ""
    assert found["9"]["bulging"] == ""
    assert "7" not in found


@pytest.mark.parametrize("suffix", [".mha", ".png"])
def test_the_command_writes_what_a_build_takes(suffix, tmp_path):
    made_up.write_cohort(tmp_path / "spider", 12)
    if suffix == ".png":
        for path in sorted((tmp_path / "spider" / "images").iterdir()):
            pixels = np.random.default_rng(len(path.name)).integers(0, 256, (20, 14), np.uint8)
            pixels[0, :4] = np.frombuffer(path.name.encode()[:4], np.uint8)
            PIL.Image.fromarray(pixels).save(path.with_suffix(".png"))
            path.unlink()
    command = [sys.executable, "-m", "data_prep.spider_table", f"--images={tmp_path}/spider"]
    done = subprocess.run(
        [*command, f"--out={tmp_path}/spider.csv"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "28 images (12 T1, 16 T2) of 12 patients" in done.stdout
    with (tmp_path / "spider.csv").open() as file:
        assert tuple(next(csv.reader(file))) == spider_table.COLUMNS
    manifest = build(
        tmp_path / "spider",
        tmp_path / "spider.csv",
        tmp_path / "set",
        source="table",
        size_px=16,
        split_shares="train=0.5,test=0.5",
    )
    assert sum(counts["images"] for counts in manifest["splits"].values()) == 28
    assert [task["name"] for task in manifest["tasks"]] == list(spider_table.LABELS)
    assert {task["unit"] for task in manifest["tasks"]} == {"patient"}
    assert manifest["dropped_by_reason"] == {}
    faults = verify(tmp_path / "set")[0]
    # Random pictures all look different; those of one patient have one label each.
    assert faults == []


def test_the_real_pictures_are_stored_pixel_for_pixel_once_fitted(real_spider, tmp_path):
    rows, _ = spider_table.rows_of(real_spider)
    with (tmp_path / "spider.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, spider_table.COLUMNS)
        table.writeheader()
        table.writerows(rows)
    build(
        real_spider,
        tmp_path / "spider.csv",
        tmp_path / "set",
        source="table",
        split_shares="test=1",
    )
    images = Dataset(tmp_path / "set").images("test", range(354))
    stored = collections.Counter(image.tobytes() for image in images)
    size_px = images.shape[1]
    assert stored == collections.Counter(
        fitted(real_spider / row["path"], size_px).tobytes() for row in rows
    )


def fitted(path, size_px):
    """A picture whose longer side is `size_px`, centred on black."""
    with PIL.Image.open(path) as picture:
        scale = size_px / max(picture.size)
        small = picture.resize([round(side * scale) for side in picture.size], PIL.Image.BILINEAR)
    square = PIL.Image.new("L", (size_px, size_px))
    square.paste(small, tuple((size_px - side) // 2 for side in small.size))
    return np.asarray(square)
