"""What was written before today still opens, and answers and goes on as it did."""

import dataclasses
import json
import math
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.evaluators import class_metrics
from lumbarclip_jax.evaluators.calibration import TEMPERATURES, tempered
from lumbarclip_jax.evaluators.predictions_file import load_kept
from lumbarclip_jax.evaluators.task_scores import by_unit
from lumbarclip_jax.export import export
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training.model_state import ModelState
from tests.golden.make_earlier import (
    FOLDER,
    RESUME,
    answers,
    command,
    digest,
    losses,
    saved_state,
)

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
SAID = json.loads((FOLDER / "answers.json").read_text())
# Two processors round a sum of eight differently.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def where_it_was_made(monkeypatch):
    """Its paths are those of the repository."""
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> pathlib.Path:
    run = tmp_path_factory.mktemp("earlier") / "run"
    shutil.copytree(FOLDER / "run", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        # It knew no groups, which a run has since then unless told otherwise.
        refused = subprocess.run(
            [sys.executable, *f"-m lumbarclip_jax.{RESUME} --workdir={run}".format(FOLDER).split()],
            capture_output=True,
            text=True,
        )
        assert "with objective.group_reports=False, not True: set that" in refused.stderr
        command(f"{RESUME} --config.objective.group_reports=False --workdir={run}", FOLDER)
    return run


def check(found: dict, name: str) -> None:
    assert found.keys() == SAID[name].keys()
    for key, value in SAID[name].items():
        if key == "classes":
            assert found[key] == value
        else:
            np.testing.assert_allclose(found[key], value, err_msg=key, **CLOSE)


@pytest.mark.parametrize("name", ["run", "classifier"])
@pytest.mark.parametrize("place", ["", "exported/"])
def test_it_opens_and_gives_the_same_answers(name, place):
    check(answers(FOLDER / (place + name)), name)


def test_every_bit_of_its_state_is_restored():
    state = saved_state(FOLDER / "run")
    assert digest(state) == SAID["state"]
    opened = load_run(FOLDER / "run").state
    assert digest(opened) == digest(ModelState(state.step, state.params, state.batch_stats))


@pytest.mark.slow
def test_it_goes_on_training(resumed):
    assert len(SAID["losses"]) == 6
    np.testing.assert_allclose(losses(resumed), SAID["losses"], rtol=1e-3)
    assert (resumed / "report.html").is_file()


def with_learned_scale(before: dict, now: dict) -> dict:
    """Numbers of zero-shot's kept answers, which were softmaxes of cosines alone, scaled by hand.

    The temperatures by patient were fitted on validation answers, which nobody kept.
    """
    scale = math.exp(float(load_run(FOLDER / "run").state.params["logit_scale"]))
    assert scale == pytest.approx(14.24, abs=0.01)
    found = {}
    for name, kept in load_kept(FOLDER / "run" / "predictions.npz").predictions.items():
        _, evaluator, task, *unit = name.split("/")
        if evaluator != "zero_shot" or unit:
            continue
        scaled = tempered(kept.probabilities, 1 / scale)
        kept = dataclasses.replace(kept, probabilities=scaled)
        for unit, said in by_unit(TASKS[task], kept).items():
            temperature = f"{name}{unit}/temperature"
            found[temperature] = now[temperature]
            fitted = tempered(said.probabilities, now[temperature])
            calibrated = class_metrics.calibration_metrics(fitted, said.labels)
            numbers = said.metrics(np.ones((1, len(said.labels))))
            numbers |= {
                f"{metric}_calibrated": of(np.ones((len(said.labels), 1)))
                for metric, of in calibrated.items()
            }
            for metric, (value,) in numbers.items():
                found[f"{name}{unit}/{metric}"] = None if math.isnan(value) else value
        found[f"{name}/temperature"] = min(scale * before[f"{name}/temperature"], TEMPERATURES[1])
    assert len(found) > 80
    return found


@pytest.mark.parametrize("folder", ["run", "exported/classifier"])
def test_it_is_measured_as_it_was(folder, tmp_path):
    name = pathlib.Path(folder).name
    before = json.loads((FOLDER / name / "metrics.json").read_text())
    asked = "--evaluators=retrieval,zero_shot" if name == "run" else ""
    command(
        f"evaluate --workdir={FOLDER / folder} --data_dir={FOLDER / 'data'} --resamples=100 "
        f"--out={tmp_path}/now.json {asked}",
        FOLDER,
    )
    now = json.loads((tmp_path / "now.json").read_text())
    before |= with_learned_scale(before, now) if name == "run" else {}
    points = {key: now[key] for key in now if key.startswith("test/") and "_ci_" not in key}
    assert len(points) > 10
    for key, value in points.items():
        if value is None:
            assert before[key] is None, key
        else:
            assert before[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key


@pytest.mark.parametrize("name", ["run", "classifier"])
def test_it_is_exported(name, tmp_path):
    export(FOLDER / name, "safetensors", tmp_path / "exported")
    check(answers(tmp_path / "exported"), name)
