"""The real `train_and_evaluate` on a tiny data set: to the end, twice the same, and resumed."""

import os
import shutil
import signal

import numpy as np
import pytest

from configs import vit_linear
from data_prep.process import signals
from lumbarclip_jax import loop, train
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.evaluators.suite import evaluate_split
from lumbarclip_jax.process import preemption
from lumbarclip_jax.run_folder import metric_writer
from lumbarclip_jax.run_folder.run import load_run
from tests import tiny_runs
from tests.damage_checkpoints import change_an_array

pytestmark = pytest.mark.usefixtures("plain_page")

STEPS = 6


def tiny_config(folder):
    config = vit_linear.get_config("quick")
    config.total_steps = STEPS
    config.log_every_steps = 1
    config.data.update(
        dir=str(folder), global_batch_size=8, image_size_px=32, crop_px=32, max_tokens=12
    )
    config.model.embed_dim = 16
    config.optim.warmup_steps = 2
    config.eval.update(every_steps=4, batch_size=8, bootstrap_resamples=20)
    config.eval.at_the_end = ("retrieval",)
    config.checkpoint.every_steps = 4
    return config


@pytest.fixture(scope="module")
def finished(plain_page, tiny_dataset, tmp_path_factory):
    """A run that was never stopped, and the metrics it returned."""
    workdir = tmp_path_factory.mktemp("finished")
    return workdir, train.train_and_evaluate(tiny_config(tiny_dataset), workdir)


def training_rows(workdir):
    rows = [row for row in metric_writer.read_history(workdir) if "loss" in row]
    return [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in rows]


def test_a_run_leaves_its_metrics_and_definition(finished):
    workdir, metrics = finished
    # As ==, but a number that is not defined equals itself.
    np.testing.assert_equal(read_metrics(workdir / "metrics.json"), metrics)
    assert "test/retrieval/image_to_text_recall_at_1" in metrics
    kept = {"config.json", "vocab.txt", "data_manifest.json", "trained_patients.txt", "checkpoints"}
    assert kept <= {p.name for p in workdir.iterdir()}
    steps = [row[0] for row in training_rows(workdir)]
    assert steps == list(range(1, STEPS + 1))


def test_the_same_seed_gives_the_same_bits(finished, tiny_dataset, tmp_path):
    train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path)
    assert training_rows(tmp_path) == training_rows(finished[0])


@pytest.mark.slow
def test_another_seed_gives_another_run(finished, tiny_dataset, tmp_path):
    config = tiny_config(tiny_dataset)
    config.seed = 1
    train.train_and_evaluate(config, tmp_path)
    assert training_rows(tmp_path)[0] != training_rows(finished[0])[0]


def test_a_run_stopped_by_sigterm_continues_as_if_it_had_not(
    finished, tiny_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "Progress", tiny_runs.StoppedAfterThree)
    assert train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path) == {}
    assert [row[0] for row in training_rows(tmp_path)] == [1, 2, 3]
    monkeypatch.undo()
    metrics = train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path)
    assert training_rows(tmp_path) == training_rows(finished[0])
    np.testing.assert_equal(metrics, finished[1])


@pytest.mark.slow
def test_a_run_stopped_in_a_validation_goes_on_with_it(
    finished, tiny_dataset, tmp_path, monkeypatch
):
    def stopped(embedder, state, evaluators):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal ends it here")

    monkeypatch.setattr(train, "validation_metrics", stopped)
    for _ in range(2):  # stopped again, it is still to be measured
        assert train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path) == {}
        assert [row["step"] for row in metric_writer.read_history(tmp_path)] == [1, 2, 3, 4]
    monkeypatch.undo()
    metrics = train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path)
    assert measured(tmp_path) == measured(finished[0])
    np.testing.assert_equal(metrics, finished[1])


@pytest.mark.slow
def test_all_is_saved_once_a_signal_is_no_longer_only_noted(tiny_dataset, tmp_path, monkeypatch):
    statuses = []
    leave = preemption.StopRequest.__exit__

    def left(request, *exception):
        statuses.append((signals.status(signal.SIGTERM), (tmp_path / "checkpoints" / "6").exists()))
        leave(request, *exception)

    monkeypatch.setattr(signals._State, "resumes", True)
    monkeypatch.setattr(preemption.StopRequest, "__exit__", left)
    train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path)
    assert statuses == [(0, True)]


def measured(workdir):
    """The history without what is of the clock."""
    return [
        {name: value for name, value in row.items() if name != "pairs_per_s"}
        for row in metric_writer.read_history(workdir)
    ]


@pytest.mark.slow
def test_resuming_an_older_checkpoint_leaves_no_row_twice(finished, tiny_dataset, tmp_path):
    for name in ("config.json", "vocab.txt", "metrics.jsonl"):
        (tmp_path / name).write_bytes((finished[0] / name).read_bytes())
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # a line cut by a crash
    train.train_and_evaluate(tiny_config(tiny_dataset), tmp_path)
    assert training_rows(tmp_path) == training_rows(finished[0])


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    finished, tiny_dataset, tmp_path, caplog
):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    path = change_an_array(workdir / "checkpoints" / "6")
    metrics = train.train_and_evaluate(tiny_config(tiny_dataset), workdir)
    assert f"{path} is not the file that was saved: step 4 is taken instead" in caplog.text
    assert training_rows(workdir) == training_rows(finished[0])
    np.testing.assert_equal(metrics, finished[1])
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["4", "6"]


def test_a_run_loads_and_measures_the_same(finished, tiny_dataset):
    workdir, metrics = finished
    run = load_run(workdir)
    again, _ = evaluate_split(
        run.embedder(Dataset(tiny_dataset)),
        run.state,
        "test",
        resamples=20,
        names=run.config.eval.at_the_end,
    )
    assert again.keys() == metrics.keys()
    name = "test/retrieval/image_to_text_mrr"
    assert again[name] == pytest.approx(metrics[name], abs=1e-5)


def test_continuing_with_another_model_is_refused(finished, tiny_dataset):
    config = tiny_config(tiny_dataset)
    config.model.embed_dim = 24
    definition = (finished[0] / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"was trained with model\.embed_dim=16, not 24: set that"):
        train.train_and_evaluate(config, finished[0])
    assert (finished[0] / "config.json").read_bytes() == definition


def test_a_finished_run_is_left_as_it_is(finished, tiny_dataset, caplog):
    workdir, metrics = finished
    before = {path: path.read_bytes() for path in workdir.iterdir() if path.is_file()}
    caplog.set_level("INFO", "lumbarclip_jax")
    # As ==, but a number that is not defined equals itself.
    np.testing.assert_equal(train.train_and_evaluate(tiny_config(tiny_dataset), workdir), metrics)
    assert "already complete at step 6" in caplog.text
    config = tiny_config(tiny_dataset)
    config.optim.lr = 0.5
    with pytest.raises(ValueError, match=r"trained with optim\.lr=0\.001, not 0\.5.*total_steps"):
        train.train_and_evaluate(config, workdir)
    assert {path: path.read_bytes() for path in workdir.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_a_finished_run_is_trained_further(finished, tiny_dataset, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    config = tiny_config(tiny_dataset)
    config.total_steps = STEPS + 2
    metrics = train.train_and_evaluate(config, workdir)
    assert [row[0] for row in training_rows(workdir)] == list(range(1, STEPS + 3))
    np.testing.assert_equal(read_metrics(workdir / "metrics.json"), metrics)


def test_what_the_shards_hold_is_checked_unless_told_not_to(finished, tiny_dataset, tmp_path):
    folder = shutil.copytree(tiny_dataset, tmp_path / "set")
    shard = next(folder.glob("*validation*"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: copy the data set again"):
        train.train_and_evaluate(tiny_config(folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = tiny_config(folder)
    config.data.check_shards = False
    with pytest.raises(ValueError, match="check_shards=True, not False"):  # it went on to the run
        train.train_and_evaluate(config, finished[0])


def test_a_second_ctrl_c_takes_its_usual_effect():
    # Set here, because a process started in the background inherits an ignored SIGINT.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with preemption.StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.requested
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            for _ in range(2):  # the second would end this process
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
