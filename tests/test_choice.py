"""The step that is measured and used is the last, or the one that validation chose."""

import json
import math
import os
import re
import signal

import numpy as np
import pytest

from lumbarclip_jax import train
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.run_folder import choice
from lumbarclip_jax.run_folder.choice import Choice
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training import config_check
from tests.damage_checkpoints import change_an_array
from tests.tiny_runs import tiny_config

METRIC = "validation/retrieval/image_to_text_recall_at_5"
FOUND = {2: 0.1, 4: 0.5, 6: 0.3, 8: 0.2}


def test_the_best_is_chosen_and_a_tie_leaves_the_earlier():
    chosen = Choice(METRIC, patience=2)
    assert [chosen.see(step, {METRIC: value}) for step, value in FOUND.items()] == [1, 1, 0, 0]
    assert (chosen.step, chosen.value, chosen.since) == (4, 0.5, 2)
    assert chosen.is_exhausted
    assert not chosen.see(10, {METRIC: 0.5})


def test_less_is_better_with_a_minus():
    chosen = Choice(f"-{METRIC}", patience=0)
    for step, value in FOUND.items():
        chosen.see(step, {METRIC: value})
    assert (chosen.step, chosen.since) == (2, 3)
    assert not chosen.is_exhausted


def test_an_undefined_number_is_never_the_best():
    chosen = Choice(METRIC, patience=0)
    assert not chosen.see(2, {METRIC: math.nan})
    assert chosen.step is None
    assert chosen.see(4, {METRIC: 0.0})


def test_without_a_metric_nothing_is_chosen():
    chosen = Choice("", patience=0)
    assert not chosen.see(2, {METRIC: 1.0})
    chosen.see_history([{"step": 2, METRIC: 1.0}], {2})
    assert (chosen.step, chosen.is_exhausted) == (None, False)


def test_a_metric_that_is_not_measured_is_answered_with_those_that_are():
    chosen = Choice("validation/retrieval/recal", patience=0)
    with pytest.raises(ValueError, match=rf"'validation/retrieval/recal' is not .* from {METRIC}$"):
        chosen.see(2, {METRIC: 1.0, f"{METRIC}_ci_low": 0.0, f"{METRIC}_ci_high": 1.0})


@pytest.mark.parametrize(
    ("steps", "expected"), [({4, 8}, (4, 2)), ({6, 8}, (6, 1)), (set(), (None, 4))]
)
def test_of_an_earlier_part_only_what_is_still_there_is_chosen(steps, expected):
    chosen = Choice(METRIC, patience=0)
    rows = [{"step": 1, "loss": 2.0}, *({"step": at, METRIC: x} for at, x in FOUND.items())]
    chosen.see_history(rows, steps)
    assert (chosen.step, chosen.since) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"choose_by": "test/retrieval/x"}, "eval.choose_by='test/retrieval/x' chooses among"),
        ({"choose_by": METRIC, "every_steps": 0}, "set eval.every_steps above 0"),
        ({"patience": 2}, "eval.patience=2 counts from the best by eval.choose_by: set it"),
        ({"patience": -1}, "eval.patience=-1"),
    ],
)
def test_settings_that_choose_nothing_are_refused(fields, said, tmp_path):
    config = tiny_config(tmp_path)
    config.eval.update(fields)
    with pytest.raises(ValueError, match=said):
        config_check.validated(config)


@pytest.fixture
def config(tiny_dataset, monkeypatch):
    """Eight steps, of which validation finds the fourth the best."""
    config = tiny_config(tiny_dataset)
    config.total_steps = 8
    config.log_every_steps = 1
    config.data.global_batch_size = 8
    config.optim.warmup_steps = 2
    config.checkpoint.update(every_steps=4, keep=1)
    config.eval.update(every_steps=2, choose_by=METRIC, bootstrap_resamples=20)
    config.eval.at_the_end = ("retrieval",)
    monkeypatch.setattr(train, "validation_metrics", validation)
    return config


def validation(embedder, state, evaluators):
    return {METRIC: FOUND[int(state.step)]}


def saved_steps(workdir) -> set[str]:
    return {path.name for path in (workdir / "checkpoints").iterdir()}


@pytest.mark.slow
def test_the_chosen_step_is_kept_measured_and_loaded(config, tmp_path):
    metrics = train.train_and_evaluate(config, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == {"4", "8"}
    assert json.loads((tmp_path / "run" / choice.FILE).read_text()) == {
        "metric": METRIC,
        "step": 4,
        "value": 0.5,
        "last_step": 8,
        "patience": 0,
        "stopped_early": False,
    }
    run = load_run(tmp_path / "run")
    assert int(run.state.step) == 4
    embedder = run.embedder(run.dataset())
    found, _ = train.evaluate_split(
        embedder,
        run.state,
        "test",
        resamples=config.eval.bootstrap_resamples,
        names=config.eval.at_the_end,
    )
    np.testing.assert_equal({name: metrics[name] for name in found}, found)
    page = (tmp_path / "run" / "report.html").read_text()
    assert f"step 4 is measured, which {METRIC} chose" in page
    assert "vit_linear_quick" in page
    assert not re.search(r"""(src|href)=["']https?:""", page)
    before = (tmp_path / "run" / "report.html").stat().st_mtime_ns
    np.testing.assert_equal(train.train_and_evaluate(config, tmp_path / "run"), metrics)
    assert (tmp_path / "run" / "report.html").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.usefixtures("plain_page")
def test_a_run_stopped_in_between_chooses_the_same(config, tmp_path, monkeypatch):
    expected = train.train_and_evaluate(config, tmp_path / "undisturbed")

    def stopped(embedder, state, evaluators):
        if int(state.step) == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the signal ends it here")
        return validation(embedder, state, evaluators)

    monkeypatch.setattr(train, "validation_metrics", stopped)
    assert train.train_and_evaluate(config, tmp_path / "run") == {}
    assert saved_steps(tmp_path / "run") == {"4", "6"}
    assert not (tmp_path / "run" / choice.FILE).exists()
    monkeypatch.setattr(train, "validation_metrics", validation)
    np.testing.assert_equal(train.train_and_evaluate(config, tmp_path / "run"), expected)
    assert choice.read(tmp_path / "run") == choice.read(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.usefixtures("plain_page")
def test_patience_ends_a_run_and_more_of_it_goes_on(config, tmp_path):
    config.eval.patience = 1
    metrics = train.train_and_evaluate(config, tmp_path)
    assert saved_steps(tmp_path) == {"4", "6"}
    assert choice.read(tmp_path)["stopped_early"]
    np.testing.assert_equal(train.train_and_evaluate(config, tmp_path), metrics)
    config.total_steps = 10
    with pytest.raises(ValueError, match=r"larger total_steps or eval\.patience trains it further"):
        train.train_and_evaluate(config, tmp_path)
    config.total_steps = 8
    config.eval.patience = 3
    train.train_and_evaluate(config, tmp_path)
    assert saved_steps(tmp_path) == {"4", "8"}
    found = choice.read(tmp_path)
    assert (found["step"], found["last_step"], found["stopped_early"]) == (4, 8, False)
    assert read_metrics(tmp_path / "metrics.json").keys() == metrics.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("plain_page")
def test_a_chosen_checkpoint_that_is_damaged_or_gone_is_named(config, tmp_path):
    train.train_and_evaluate(config, tmp_path)
    change_an_array(tmp_path / "checkpoints" / "4")
    with pytest.raises(ValueError, match=r"checkpoints/4/.* it is the step that validation chose"):
        load_run(tmp_path)
    (tmp_path / "checkpoints" / "4").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"checkpoints/4 is missing, the step that valid"):
        load_run(tmp_path)
    (tmp_path / choice.FILE).write_text('{"step": 4}')
    with pytest.raises(ValueError, match=r"chosen\.json is cut or damaged"):
        load_run(tmp_path)
