"""Processes of a sweep, with a quick stand-in for training: failures, resuming, no two at once."""

import dataclasses
import fcntl
import json
import os
import signal
import sys
import threading
import time

import pytest

from lumbarclip_jax.data import content
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.sweep import runner
from tests.planted_runs import planned

# Trains in two calls a run that is interrupted: what the first wrote, the second finds.
STAND_IN = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[-1].removeprefix("--workdir="))
with (folder / "calls").open("a") as file:
    file.write("x")
if "--fail" in sys.argv:
    sys.exit("some lines\\nerror: the data is gone\\nmore lines")
if "--wait" in sys.argv and not (folder / "checkpoint").exists():
    def stop(number, frame):
        (folder / "checkpoint").write_text("")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    (folder / "waiting").write_text("")
    time.sleep(60)
if "--half" not in sys.argv:
    for name in ("metrics.json", "predictions.npz", "report.html"):
        (folder / name).write_text("")
print("trained")
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Makes a run whose process is the stand-in."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    monkeypatch.setattr(runner, "TRAIN", (sys.executable, str(script)))

    def make(model: str, *arguments: str):
        return dataclasses.replace(planned(tmp_path, model), arguments=arguments)

    return make


def calls(run) -> int:
    return len((run.folder / "calls").read_text())


def test_what_is_complete_is_not_trained_again(run):
    runs = [run("vit_linear"), run("vit_mlp")]
    assert runner.train(runs, jobs=1) == {}
    assert runner.train([*runs, run("swin_mlp")], jobs=2) == {}
    assert [calls(each) for each in runs] == [1, 1]
    assert runner.is_complete(run("swin_mlp"))
    assert (runs[0].folder / "log.txt").read_text() == "trained\n"


def test_a_failing_run_is_named_and_stops_no_other(run):
    runs = [run("vit_linear", "--fail"), run("vit_mlp", "--half"), run("swin_mlp")]
    assert runner.train(runs, jobs=1) == {
        "vit_linear_seed0": "ended with status 1: the data is gone",
        "vit_mlp_seed0": "ended with status 0: trained",
    }
    assert runner.is_complete(runs[2])
    assert runner.train([run("vit_linear"), *runs[2:]], jobs=1) == {}
    assert calls(runs[2]) == 1


def test_an_interrupted_sweep_stops_its_runs_in_order_and_continues(run):
    waiting, after = run("vit_linear", "--wait"), run("vit_mlp")

    def interrupt():
        while not (waiting.folder / "waiting").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            runner.train([waiting, after], jobs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (waiting.folder / "checkpoint").exists()
    assert not after.folder.exists()
    assert runner.train([waiting, after], jobs=1) == {}
    assert (calls(waiting), calls(after)) == (2, 1)


def test_a_folder_in_use_is_left_alone(run):
    busy, free = run("vit_linear"), run("vit_mlp")
    busy.folder.mkdir(parents=True)
    with (busy.folder / "log.txt").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        failures = runner.train([busy, free], jobs=1)
    assert failures == {"vit_linear_seed0": "another process is training it: wait for that one"}
    assert runner.is_complete(free)


def test_another_config_in_the_same_folder_is_refused_before_training(run):
    first = run("vit_linear")
    runner.train([first], jobs=1)
    config = json.loads(json.dumps(first.config))
    config["data"]["image_size_px"] = 64
    other = dataclasses.replace(first, config=config)
    with pytest.raises(ValueError, match=r"trained with data\.image_size_px=32, not 64: choose"):
        runner.train([run("vit_mlp"), other], jobs=1)
    assert not run("vit_mlp").folder.exists()


def test_what_a_later_version_asks_besides_is_no_other_config(run):
    first = run("vit_linear")
    runner.train([first], jobs=1)
    config = json.loads(json.dumps(first.config))
    config["data"] |= {"check_shards": True, "token_buckets": []}
    assert runner.train([dataclasses.replace(first, config=config)], jobs=1) == {}
    assert calls(first) == 1


def test_a_complete_run_on_data_that_was_rebuilt_since_is_refused(run, tiny_dataset, tmp_path):
    first = run("vit_linear")
    config = json.loads(json.dumps(first.config))
    config["data"]["dir"] = str(tiny_dataset)
    first = dataclasses.replace(first, config=config)
    runner.train([first], jobs=1)
    kept = content.summary(Dataset(tiny_dataset).manifest)
    (first.folder / "data_manifest.json").write_text(json.dumps(kept))
    assert runner.train([first], jobs=1) == {}
    (first.folder / "data_manifest.json").write_text(json.dumps(kept | {"content": "", "seed": 9}))
    with pytest.raises(ValueError, match=r"on another data set \(seed was 9, is 0\): choose"):
        runner.train([first], jobs=1)


def test_the_time_left_is_told(run, caplog):
    caplog.set_level("INFO", runner.log.name)
    runner.train([run("vit_linear"), run("vit_mlp", "--fail")], jobs=1)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == "2 runs, 0 of them complete"
    assert any(
        "vit_linear_seed0: done in 0:00:0" in line and "(1 of 2, about" in line for line in told
    )
    assert any("vit_mlp_seed0: FAILED, ended with status 1" in line for line in told)
