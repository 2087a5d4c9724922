"""A damaged checkpoint is seen, named and passed over for the one before it."""

import gc
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from lumbarclip_jax.export import export
from lumbarclip_jax.run_folder import checkpoints, checksums
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.run import load_run
from tests.damage_checkpoints import change_an_array, drawn

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# Orbax leaves the reads behind that were going on when one of them failed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def no_reads_left():
    """What is left of a test's reads is not another test's error."""
    yield
    gc.collect()


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def save(workdir, *steps, keep=2):
    with Checkpointer(workdir, keep) as checkpointer:
        for step in steps:
            checkpointer.save(step, drawn(step), {"read": step})


def restored_step(workdir) -> int:
    with Checkpointer(workdir) as checkpointer:
        state, position = checkpointer.restore(abstract(drawn(0)))
    jax.tree.map(np.testing.assert_array_equal, state, drawn(position["read"]))
    return position["read"]


def test_damages_of_every_kind():
    command = [sys.executable, "tests/damage_checkpoints.py", "--damages=60", "--seed=1"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.stdout, run.stderr[-2000:]
    summary = json.loads(run.stdout)
    assert summary["passed"], run.stdout
    # Were nothing damaged, or all of it beyond reading, the run would show little.
    assert summary["outcomes"]["older with a warning, saved anew"] > 25
    assert len(summary["outcomes"]) == 3


def test_a_checkpoint_gets_its_name_with_its_digests(tmp_path):
    save(tmp_path, 3)
    folder = tmp_path / "checkpoints" / "3"
    listed = checksums.read(folder / checksums.FILE)
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    own = {checksums.FILE, "_CHECKPOINT_METADATA", "commit_success.txt"}
    assert listed.keys() == files - own
    assert list(checksums.changed(folder, listed)) == []


def test_a_kill_while_digests_are_taken_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save(tmp_path, 2)

    def killed(folder, *, but):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.checksums, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 4)
    monkeypatch.undo()
    assert restored_step(tmp_path) == 2
    save(tmp_path, 4)
    assert restored_step(tmp_path) == 4


def test_the_damaged_folder_stays_until_its_step_is_saved_anew(tmp_path, caplog):
    save(tmp_path, 2, 4)
    folder = tmp_path / "checkpoints"
    path = change_an_array(folder / "4")
    content = path.read_bytes()
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        _, position = checkpointer.restore(abstract(drawn(0)))
        assert position == {"read": 2}
        assert f"{path} is not the file that was saved: step 2 is taken instead" in caplog.text
        assert checkpointer.latest_step == 2
        assert path.read_bytes() == content
        checkpointer.save(3, drawn(3), {"read": 3})
        aside = folder / "4.damaged" / path.relative_to(folder / "4")
        assert aside.read_bytes() == content
    assert aside.read_bytes() == content
    assert restored_step(tmp_path) == 3
    save(tmp_path, 4)
    assert sorted(p.name for p in folder.iterdir()) == ["3", "4"]
    assert restored_step(tmp_path) == 4


def test_a_step_that_is_damaged_twice_is_saved_a_third_time(tmp_path):
    save(tmp_path, 2, 4)
    folder = tmp_path / "checkpoints"
    change_an_array(folder / "4")
    shutil.copytree(folder / "4", folder / "4.damaged")  # of a run that was killed
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        checkpointer.restore(abstract(drawn(0)))
        checkpointer.save(4, drawn(4), {"read": 4})
    assert restored_step(tmp_path) == 4
    assert sorted(p.name for p in folder.iterdir()) == ["2", "4"]


def test_without_a_whole_one_the_file_is_named(tmp_path):
    save(tmp_path, 2, 4)
    paths = [change_an_array(tmp_path / "checkpoints" / step) for step in ("4", "2")]
    with pytest.raises(ValueError, match=r"no checkpoint of this run is whole") as refused:
        restored_step(tmp_path)
    assert all(f"{path} is not the file that was saved" in str(refused.value) for path in paths)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "4"]


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch, caplog):
    save(tmp_path, 2, 4)
    path = tmp_path / "checkpoints" / "4" / "data" / "metadata"
    opened = pathlib.Path.open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    assert restored_step(tmp_path) == 2
    assert f"Permission denied: '{path}'" in caplog.text


def of_an_earlier_version(folder: pathlib.Path) -> None:
    """Takes from a checkpoint what was not written then."""
    (folder / checksums.FILE).unlink()
    metadata = json.loads((folder / "_CHECKPOINT_METADATA").read_text())
    metadata["custom_metadata"] = {}
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps(metadata))


def test_a_checkpoint_of_an_earlier_version_is_taken_with_a_warning(tmp_path, caplog):
    save(tmp_path, 2, 4)
    of_an_earlier_version(tmp_path / "checkpoints" / "4")
    assert restored_step(tmp_path) == 4
    assert "4 has no SHA256SUMS: damage would go unseen" in caplog.text


def test_what_orbax_sees_of_an_earlier_version_is_passed_over_too(tmp_path, caplog):
    save(tmp_path, 2, 4)
    folder = tmp_path / "checkpoints" / "4"
    of_an_earlier_version(folder)
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    os.truncate(path, 10)
    assert restored_step(tmp_path) == 2
    assert f"{folder} cannot be read (" in caplog.text


def test_a_folder_under_another_name_is_not_taken_silently(tmp_path, caplog):
    save(tmp_path, 2, 4)
    folder = tmp_path / "checkpoints"
    (folder / "4").rename(folder / "8")
    assert restored_step(tmp_path) == 2
    assert "8 is not the checkpoint of this step" in caplog.text
    (folder / "8").rename(folder / "4 (copy)")
    assert restored_step(tmp_path) == 2
    assert "4 (copy) is no checkpoint by its name" in caplog.text


@pytest.fixture
def damaged_run(tiny_run, tmp_path):
    """A copy of the run with a whole checkpoint of step 3 before its own, which is damaged."""
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    shutil.rmtree(folder / "checkpoints")
    with Checkpointer(folder, keep=2) as checkpointer:
        for step in (3, 7):
            state = jax.tree.map(
                lambda x, step=step: x if x.dtype.kind == "f" else x * 0 + step, tiny_run.state
            )
            checkpointer.save(step, state, {})
    change_an_array(folder / "checkpoints" / "7")
    return folder


def test_a_damaged_run_is_neither_measured_nor_exported_and_left_as_it_is(damaged_run, tmp_path):
    before = sorted(damaged_run.rglob("*"))
    sentence = r"not the file that was saved: step 3 is whole, and the training command"
    with pytest.raises(ValueError, match=sentence):
        load_run(damaged_run)
    with pytest.raises(ValueError, match=sentence):
        export(damaged_run, "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(damaged_run.rglob("*")) == before
