"""One build, in stages, by any runner and number of workers, ends in the same bytes."""

import random
import shutil
import subprocess
import sys

import pytest

from data_prep.build import stages
from data_prep.build.workspace import Workspace
from tests.scale_builds import (
    REPOSITORY,
    build_from,
    command,
    content,
    leftovers,
    undisturbed_content,
    write_inputs,
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def undisturbed(inputs, tmp_path_factory) -> dict[str, bytes]:
    return undisturbed_content(inputs, tmp_path_factory.mktemp("undisturbed") / "set")


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
