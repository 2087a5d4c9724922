"""One build, however it is run: stages, runners, kills and full disks end in the same bytes."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from data_prep.build import build
from data_prep.building import stages
from data_prep.building.workspace import Workspace
from data_prep.drops import Reason
from data_prep.images import decoder
from data_prep.parallel import ordered_map
from tests import data_prep_cohort as cohort

PATIENTS, SIZE_PX = 24, 64
# LUMBARCLIP_KILLS=20 pytest tests/test_scale_stages.py is the long form.
KILLS = int(os.environ.get("LUMBARCLIP_KILLS", "5"))
REPOSITORY = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """24 patients in slices of noise; 2's are nearly those of 1, and one file is no picture."""
    root = tmp_path_factory.mktemp("cohort")
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
OPTIONS = {"split_shares": "train=0.5,test=0.5", "seed": 1, "size_px": SIZE_PX, "shard_records": 6}
FLAGS = ["--splits=train=0.5,test=0.5", "--seed=1", f"--size_px={SIZE_PX}", "--shard_records=6"]


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


def file_count(folder) -> int:
    # os.walk does not mind folders that vanish.
    return sum(len(names) for _, _, names in os.walk(folder))


def leftovers(out) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    manifest = build_from(inputs, out)
    assert manifest["look_alikes"]["pairs"] == 1
    assert manifest["dropped_by_reason"] == {"unreadable_image": 1}
    assert not leftovers(out)
    return content(out)


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_workers_gives_the_same_bytes(inputs, undisturbed, tmp_path, workers):
    build_from(inputs, tmp_path / "set", workers=workers)
    assert content(tmp_path / "set") == undisturbed


def test_look_alikes_are_planned_apart_here(inputs, tmp_path):
    """So that in every test below some shards are planned twice."""
    build_from(inputs, tmp_path / "set", stage="plan")
    space = Workspace.find(tmp_path / "set")
    pseudonym_of = {source_id: pseudonym for pseudonym, source_id in space.patients().items()}
    splits = {
        patient: shard.split
        for shard in space.shards()
        for row in space.rows(shard.digest)
        for patient in ("0001", "0002")
        if row.features["patient_id"] == pseudonym_of[patient]
    }
    assert sorted(splits.values()) == ["test", "train"]


def test_the_stages_of_a_job_array_give_the_same_bytes(inputs, undisturbed, tmp_path):
    out = tmp_path / "set"
    assert build_from(inputs, out, stage="plan") is None
    count = stages.shard_count(out)
    assert count > 8
    with pytest.raises(ValueError, match=rf"{count} shards of .* not converted: run --stage=conv"):
        stages.publish(out, workers=1)
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    for number in numbers:
        stages.convert_one(out, number)
    stages.convert_one(out, 3)
    with pytest.raises(ValueError, match=f"--shard is {count}: the shards are numbered 0 to"):
        stages.convert_one(out, count)
    stages.publish(out, workers=1)
    assert content(out) == undisturbed
    assert not leftovers(out)
    with pytest.raises(ValueError, match=r"no build of .*set is under way: run --stage=plan first"):
        stages.publish(out, workers=1)


def test_the_commands_of_a_job_array(inputs, undisturbed, tmp_path):
    out = tmp_path / "set"

    def run(*arguments):
        return subprocess.run(arguments, capture_output=True, text=True, cwd=REPOSITORY)

    planned = run(*command(inputs, out, "--stage=plan"))
    assert "planned " in planned.stdout, planned.stderr
    module = [sys.executable, "-m", "data_prep.build", f"--out={out}"]
    for number in range(1, int(planned.stdout.split()[1])):
        stages.convert_one(out, number)
    assert run(*module, "--stage=convert").returncode == 2
    assert run(*module, "--stage=convert", "--shard=0").returncode == 0
    committed = run(*module, "--stage=commit")
    assert "the data set is in" in committed.stdout, committed.stderr
    assert content(out) == undisturbed


def test_beam_gives_the_same_bytes(inputs, undisturbed, tmp_path):
    pytest.importorskip("apache_beam")
    more = ["--runner=beam", "--beam_options=--runner=DirectRunner --direct_num_workers=2"]
    result = subprocess.run(
        command(inputs, tmp_path / "set", *more), capture_output=True, text=True, cwd=REPOSITORY
    )
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "set") == undisturbed


def test_without_beam_one_sentence_says_so(inputs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs Apache Beam: pip install"):
        build_from(inputs, tmp_path / "set", runner="beam")


def test_killed_at_any_moment_a_build_goes_on(inputs, undisturbed, tmp_path):
    rng = random.Random(0)
    out = tmp_path / "set"
    for kill in range(KILLS):
        process = subprocess.Popen(
            command(inputs, out, f"--workers={1 + kill % 2}"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=REPOSITORY,
        )
        # A moment is told by the files that are written, not by a clock: computers differ.
        files = file_count(tmp_path) + rng.randrange(1, 25)
        while process.poll() is None and file_count(tmp_path) < files:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if out.exists():
            assert content(out) == undisturbed
            shutil.rmtree(out)
    build_from(inputs, out)
    assert content(out) == undisturbed
    assert not leftovers(out)


def test_work_that_is_done_is_not_done_again(inputs, undisturbed, tmp_path):
    out = tmp_path / "set"
    build_from(inputs, out, stage="plan")
    for number in range(5):
        stages.convert_one(out, number)
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    done = {path: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}
    build_from(inputs, out, stage="plan")
    assert {path: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()} == done
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "harm", [pathlib.Path.unlink, lambda path: os.truncate(path, 1)], ids=["gone", "cut"]
)
def test_a_receipt_whose_shard_was_lost_is_not_believed(inputs, undisturbed, tmp_path, harm):
    """A removal of the workspace that was killed leaves such."""
    out = tmp_path / "set"
    build_from(inputs, out, stage="plan")
    for number in range(stages.shard_count(out)):
        stages.convert_one(out, number)
    space = Workspace.find(out)
    (space.folder / "plan.json").unlink()
    for path in (space.folder / "shards").iterdir():
        if not path.suffix:
            harm(path)
    build_from(inputs, out)
    assert content(out) == undisturbed
    assert not leftovers(out)


def test_the_workspace_of_another_set_is_left_alone(inputs, tmp_path):
    build_from(inputs, tmp_path / "set.a", stage="plan")
    (other,) = leftovers(tmp_path / "set")
    build_from(inputs, tmp_path / "set")
    assert leftovers(tmp_path / "set") == [other]


def test_a_lost_key_is_not_replaced(inputs, tmp_path):
    shutil.copy(inputs / "key", tmp_path / "key")
    build_from(inputs, tmp_path / "set", stage="plan", key_file=tmp_path / "key")
    for number in range(stages.shard_count(tmp_path / "set")):
        stages.convert_one(tmp_path / "set", number)
    (tmp_path / "key").unlink()
    with pytest.raises(FileNotFoundError, match="key of this build is gone: restore it"):
        stages.publish(tmp_path / "set", workers=1)
    assert not (tmp_path / "key").exists()


def test_two_builds_at_once_are_refused(inputs, tmp_path):
    out = tmp_path / "set"
    build_from(inputs, out, stage="plan")
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    with (folder / "lock").open("w") as file:
        stages.fcntl.flock(file, stages.fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another process builds in .*: wait for it"):
            build_from(inputs, out)


def test_a_full_disk_is_one_sentence_and_the_next_run_continues(inputs, undisturbed, tmp_path):
    out = tmp_path / "set"
    build_from(inputs, out, stage="plan")
    (folder,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    # Ten kilobytes hold the receipts and no shard.
    for limit_bytes in (10_000, 1_000, 10):
        result = subprocess.run(
            ["prlimit", f"--fsize={limit_bytes}:", *command(inputs, out, "--workers=1")],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
        )
        assert result.returncode == 2, result.stderr
        sentence = result.stderr.strip().splitlines()[-1]
        assert sentence.startswith(f"error: {folder}"), sentence
        assert "cannot be written" in sentence
        assert "make room on that disk and run the command again, it continues" in sentence
        assert not out.exists()
        assert not list(folder.rglob("*.partial"))
    build_from(inputs, out)
    assert content(out) == undisturbed


def test_a_file_that_breaks_its_decoder_is_left_out_of_the_data_set(inputs, tmp_path, monkeypatch):
    """The decoder of these pictures crashes at one and takes forever at another."""
    code = """
import ctypes, pathlib, time
from data_prep.images import decoder, pixels
render = pixels.render
def broken(path, *rest):
    if path.name == "T1_0003_D3.png": ctypes.string_at(0)
    if path.name == "T1_0004_D4.png": time.sleep(3600)
    return render(path, *rest)
pixels.render, decoder.TIMEOUT_S = broken, 2.0
decoder.serve()
"""
    decoder.close_all()
    with monkeypatch.context() as patch:
        patch.setattr(decoder.Decoder, "command", (sys.executable, "-c", code))
        manifest = build_from(inputs, tmp_path / "set")
        decoder.close_all()
    assert manifest["dropped_by_reason"] == {
        "unreadable_image": 1,
        "decoder_crashed": 1,
        "decoder_timeout": 1,
    }
    images = sum(counts["images"] for counts in manifest["splits"].values())
    assert images == PATIENTS * 3 - 3
    table = (tmp_path / "set.dropped.csv").read_text()
    assert "decoder_crashed,SIGSEGV,04_Intermediary_Ground_Truth_Data/T1_Output/T1_0003" in table
    assert Reason.DECODER_TIMEOUT in table


def test_a_worker_that_dies_is_one_sentence():
    with pytest.raises(OSError, match=r"a worker process was killed, .*with fewer --workers"):
        list(ordered_map(os._exit, [1, 1], workers=2, label="dying"))
