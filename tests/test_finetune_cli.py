"""The fine-tune command: a run's encoder, a baseline over folds, and mistakes in one sentence."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.kept import load_kept


def finetune(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lumbarclip_jax.finetune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_run_is_fine_tuned_and_measured(tiny_run, tmp_path):
    result = finetune(
        f"--workdir={tiny_run.folder}",
        "--task=pfirrmann_ge_3,disc_displacement",
        "--strategy=ldam_drw",
        "--label_fraction=0.6",
        "--recipe.epochs=1",
        "--recipe.batch_size=8",
        "--resamples=100",
        f"--out={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for task in ("pfirrmann_ge_3", "disc_displacement"):
        assert 0 <= metrics[f"test/finetune/{task}/auroc"] <= 1
        assert f"test/finetune/{task}/by_patient/auroc_ci_low" in metrics
    kept = load_kept(tmp_path / "predictions.npz").predictions
    answered = kept["test/finetune/pfirrmann_ge_3"]
    assert metrics["test/finetune/pfirrmann_ge_3/images"] == len(answered.labels)


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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "pass --workdir, --from_scratch or --baseline"),
        (["--from_scratch"], "--data_dir is missing"),
        (["--workdir=/no/where", "--folds=5"], "--folds is not for --workdir"),
        (["--baseline=pixels", "--from_scratch"], "--baseline is trained by itself"),
        (
            ["--baseline=small_cnn", "--data_dir=/no/where", "--recipe.epochs=3"],
            "--recipe is not for --baseline",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, tmp_path):
    result = finetune("--task=compression", f"--out={tmp_path}", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
