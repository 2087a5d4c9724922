"""A build that is killed, runs out of disk or meets files that break it; what is left goes on."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from data_prep.build import stages
from data_prep.build.workspace import Workspace
from data_prep.images import decoder
from data_prep.process.parallel import ordered_map
from data_prep.records.drops import Reason
from tests.scale_builds import (
    PATIENTS,
    REPOSITORY,
    build_from,
    command,
    content,
    leftovers,
    undisturbed_content,
    write_inputs,
)

# LUMBARCLIP_KILLS=20 pytest tests/test_scale_accidents.py is the long form.
KILLS = int(os.environ.get("LUMBARCLIP_KILLS", "5"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory) -> dict[str, bytes]:
    return undisturbed_content(inputs, tmp_path_factory.mktemp("undisturbed") / "set")


def file_count(folder) -> int:
    # os.walk does not mind folders that vanish.
    return sum(len(names) for _, _, names in os.walk(folder))


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
def broken(path, *rest, **more):
    if path.name == "T1_0003_D3.png": ctypes.string_at(0)
    if path.name == "T1_0004_D4.png": time.sleep(3600)
    return render(path, *rest, **more)
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
