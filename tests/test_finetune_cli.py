"""The fine-tune command: a run's encoder, a baseline over folds, and mistakes in one sentence."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.evaluators.predictions_file import load_kept
from lumbarclip_jax.report.page import write_report
from lumbarclip_jax.run_folder import lock
from tests import tiny_runs
from tests.report_pages import Page


def finetune(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lumbarclip_jax.finetune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_run_is_fine_tuned_and_its_page_shows_it(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    arguments = (
        f"--workdir={run}",
        "--task=pfirrmann_ge_3,disc_displacement",
        "--strategy=ldam_drw",
        "--label_fraction=0.6",
        "--recipe.epochs=1",
        "--recipe.data.global_batch_size=8",
        "--resamples=100",
    )
    result = finetune(*arguments)
    assert result.returncode == 0, result.stderr
    out = run / "finetune" / "pfirrmann_ge_3+disc_displacement"
    metrics = read_metrics(out / "metrics.json")
    assert metrics["trained_steps"] == tiny_runs.STEPS
    for task in ("pfirrmann_ge_3", "disc_displacement"):
        assert 0 <= metrics[f"test/finetune/{task}/auroc"] <= 1
        assert f"test/finetune/{task}/by_patient/auroc_ci_low" in metrics
    kept = load_kept(out / "predictions.npz").predictions
    answered = kept["test/finetune/pfirrmann_ge_3"]
    assert metrics["test/finetune/pfirrmann_ge_3/images"] == len(answered.labels)

    page = Page(write_report(run))
    drawn = " ".join(image["alt"] for image in page.attributes("img"))
    area = metrics["test/finetune/pfirrmann_ge_3/auroc"]
    assert f"ROC, All methods: Fine-tuned with an area of {area:.3f}" in drawn
    assert "Reliability, Fine-tuned:" in drawn

    again = finetune(*arguments)
    assert again.returncode == 2
    assert f"{out} holds an earlier fine-tune: remove it" in again.stderr


@pytest.mark.slow
def test_a_signal_stops_a_fine_tune_and_the_same_command_continues_it(tiny_dataset, tmp_path):
    arguments = (
        *("--from_scratch", f"--data_dir={tiny_dataset}", "--task=pfirrmann_ge_3"),
        *("--recipe.epochs=4", "--recipe.members=2", "--recipe.data.global_batch_size=8"),
        "--resamples=100",
    )
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert finetune(*arguments, f"--out={whole}").returncode == 0

    command = [sys.executable, "-m", "lumbarclip_jax.finetune", *arguments, f"--out={parts}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if "seed 1, epoch 1:" in line:
                running.send_signal(signal.SIGTERM)
                break
        said = running.stdout.read()
    assert running.returncode == 0
    assert "run the same command to continue" in said
    assert (parts / ".unfinished" / "seed_1").is_dir()
    assert not (parts / "metrics.json").exists()

    again = finetune(*arguments, f"--out={parts}")
    assert again.returncode == 0, again.stderr
    assert "seed 0, epoch 1:" not in again.stdout  # it was trained to its end
    name = "classifier.safetensors"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()
    assert not (parts / ".unfinished").exists()


def test_two_fine_tunes_do_not_share_a_folder(tiny_dataset, tmp_path):
    with lock.held(tmp_path / ".unfinished"):
        arguments = ("--from_scratch", f"--data_dir={tiny_dataset}", "--task=pfirrmann_ge_3")
        result = finetune(*arguments, f"--out={tmp_path}")
    assert result.returncode == 2
    assert "is in use: process" in result.stderr
    assert "or choose another --out" in result.stderr


def test_folds_test_every_patient_once(tiny_dataset, tmp_path):
    result = finetune(
        "--baseline=pixels",
        f"--data_dir={tiny_dataset}",
        "--folds=2",
        "--task=pfirrmann_ge_3",
        "--resamples=100",
        f"--out={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    answered = load_kept(tmp_path / "predictions.npz").predictions["test/pixels/pfirrmann_ge_3"]
    dataset = Dataset(tiny_dataset)
    columns = [dataset.columns(split) for split in dataset.splits]
    graded = [part.image_id[part.pfirrmann > 0] for part in columns]
    assert sorted(answered.image_id) == sorted(np.concatenate(graded))


def test_a_run_s_own_folder_takes_no_fine_tune(tiny_run):
    arguments = (f"--workdir={tiny_run.folder}", f"--out={tiny_run.folder}", "--task=pfirrmann")
    result = finetune(*arguments)
    assert result.returncode == 2
    place = tiny_run.folder / "finetune" / "pfirrmann"
    assert f"is the folder of a run: give the fine-tune one of its own, such as {place}" in (
        result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "pass --workdir, --from_scratch or --baseline"),
        (["--out=", "--workdir=/no/where,/nor/there"], "--out is missing"),
        (["--out=", "--workdir=/no/where", "--from_scratch"], "--out is missing"),
        (["--out=", "--baseline=pixels", "--data_dir=/no/where"], "--out is missing"),
        (["--from_scratch"], "--data_dir is missing"),
        (["--from_scratch", "--data_dir=/no/where"], "/no/where"),
        # Whether it is a task of that data set, nobody can tell.
        (["--task=lbp", "--from_scratch", "--data_dir=/no/where"], "data_prep.build"),
        (["--workdir=/no/where", "--folds=5"], "--folds is not for --workdir"),
        (["--baseline=pixels", "--from_scratch"], "--baseline is trained by itself"),
        (
            ["--baseline=small_cnn", "--data_dir=/no/where", "--recipe.epochs=3"],
            "--recipe is not for --baseline",
        ),
        (
            ["--from_scratch", "--recipe.optim.accumulation_steps=0", "--recipe.epochs=0"],
            "--recipe.epochs=0 must be at least 1; --recipe.optim.accumulation_steps=0 must be",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path):
    result = finetune("--task=compression", f"--out={tmp_path}", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
