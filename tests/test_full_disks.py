"""Full and read-only disks, damaged results, two runs of one folder: a sentence, and no loss."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_prep.process import files
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.metrics_file import read_metrics, save_metrics
from lumbarclip_jax.run_folder import lock, metric_writer, receipt

HOLD = """
import pathlib, sys, time
from lumbarclip_jax.run_folder import lock
with lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def full_disk(monkeypatch):
    """Every file that is opened for writing takes no byte more, as on a full disk."""

    real = os.open

    def full(*args, **options) -> int:
        return real("/dev/full", os.O_WRONLY)

    return lambda: monkeypatch.setattr(files.os, "open", full)


WRITERS = {
    "metrics": lambda path: save_metrics({"a": 1.0}, path),
    "predictions": lambda path: predictions_file.save_kept(predictions_file.Kept(), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(name, tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_text("before")
    full_disk()
    with pytest.raises(
        OSError, match=r"file cannot be written \(\d+ bytes, No space left.*make room"
    ):
        WRITERS[name](path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_rows_on_a_full_disk_end_the_run_at_once(tmp_path):
    full = os.open("/dev/full", os.O_WRONLY)
    with metric_writer.MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 2.0})
        os.dup2(full, writer._file.fileno())
        with pytest.raises(OSError, match=r"metrics.jsonl cannot be written \(25 bytes, No space"):
            writer.write(2, {"loss": 1.0})
    with metric_writer.MetricWriter(tmp_path, 1) as writer:
        os.dup2(full, writer._board._writer.fileno())
        with pytest.raises(OSError, match=r"tensorboard cannot be written .*No space left"):
            writer.write(2, {"loss": 1.0})
    os.close(full)
    assert [row["step"] for row in metric_writer.read_history(tmp_path)] == [1, 2]


def test_a_bad_line_of_the_history_costs_that_line_and_is_said(tmp_path, caplog):
    rows = [json.dumps({"step": step, "loss": 1.0}) for step in range(1, 301)]
    for bad in ('{"step": 4, "lo', "[]", '{"loss": 1}', '{"step": "x"}', "\x00\x00", ""):
        rows[3] = bad
        (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
        caplog.clear()
        assert len(metric_writer.read_history(tmp_path)) == 299
        assert "1 lines are damaged and left out, the first is 4" in caplog.text


def test_tensorboard_reads_what_is_written(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    with metric_writer.MetricWriter(tmp_path, 4) as writer:
        writer.write(5, {"loss": 0.5})
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, events = path.read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        size = int(np.frombuffer(data[:8], np.uint64)[0])
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert [event.step for event in events] == [0, 5, 5]
    assert events[1].session_log.status == 1  # hides what an earlier run wrote from step 5 on
    assert [(value.tag, value.simple_value) for value in events[2].summary.value] == [("loss", 0.5)]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"PK\3\4 cut"])
def test_damaged_results_are_named(content, tmp_path):
    for name, read in (
        ("metrics.json", read_metrics),
        ("predictions.npz", predictions_file.load_kept),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged: measure again"):
            read(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be written .*choose a place that can be written"):
        save_metrics({}, tmp_path / "file" / "metrics.json")
    with (
        pytest.raises(OSError, match="cannot be written"),
        lock.held(tmp_path / "file" / "run"),
    ):
        pass


def test_one_process_trains_in_a_folder_and_its_death_frees_it(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=pathlib.Path(__file__).parents[1],
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ValueError, match=rf"is in use: process {holder.pid} on .* trains there"),
            lock.held(tmp_path),
        ):
            pass
        holder.kill()
    with lock.held(tmp_path):
        pass


def test_a_result_counts_because_it_is_the_file_that_was_left(tmp_path):
    names = ("a.json", "b.npz")
    for name in names:
        (tmp_path / name).write_text(name)
    assert receipt.fault(tmp_path) == ""  # a run of before
    receipt.write(tmp_path, names)
    assert receipt.fault(tmp_path) == ""
    (tmp_path / "a.json").write_text("b.json")
    assert receipt.fault(tmp_path) == f"{tmp_path / 'a.json'} is not the file that the run left"
    receipt.renew(tmp_path, "a.json")
    assert receipt.fault(tmp_path) == ""
    (tmp_path / "b.npz").unlink()
    assert "b.npz is not the file" in receipt.fault(tmp_path)
    (tmp_path / receipt.FILE).write_bytes(b"\0")
    assert receipt.fault(tmp_path) == f"{tmp_path / receipt.FILE} is damaged"
