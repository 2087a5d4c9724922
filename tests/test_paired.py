"""The command that says whether two models differ."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.differences import difference_by_patient

ANSWERS = "test/probe/task"


def predictions(scores: np.ndarray, first: int = 0, labels=None) -> Predictions:
    """Of images that are every second one positive, two to a patient."""
    count = len(scores)
    images = first + np.arange(count)
    return Predictions(
        classes=("no", "yes"),
        labels=images % 2 if labels is None else labels,
        probabilities=np.stack([1 - scores, scores], 1),
        patient_id=np.array([f"p{i // 4:03}" for i in images]),
        level=np.full(count, "L4-L5"),
        image_id=np.array([f"i{i:03}" for i in images]),
    )


def save(folder, predicted: Predictions, evaluator: str = "probe", **ranks) -> str:
    prefix = f"test/{evaluator}"
    kept = predictions_file.Kept(
        {f"{prefix}/task": predicted}, {f"{prefix}/{name}": of for name, of in ranks.items()}
    )
    predictions_file.save_kept(kept, folder / predictions_file.FILE)
    return str(folder)


def paired(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lumbarclip_jax.paired", "--resamples=200", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def scores(seed: int, skill: float, count: int = 80) -> np.ndarray:
    """Probabilities that are higher for the odd images, by `skill` of their spread."""
    drawn = np.random.default_rng(seed).normal(size=count) + skill * (np.arange(count) % 2)
    return 1 / (1 + np.exp(-drawn))


def test_a_better_model_differs_and_a_fold_is_a_part(tmp_path):
    """The better model's predictions come in two folds, the worse one's in another order."""
    good, poor = predictions(scores(0, 3.0)), predictions(scores(1, 0.0))
    for fold in range(2):
        part = predictions(scores(0, 3.0)[40 * fold : 40 * fold + 40], first=40 * fold)
        save(tmp_path / f"fold{fold}", part)
    order = np.random.default_rng(2).permutation(80)
    shuffled = {
        name: value[order] for name, value in vars(poor).items() if isinstance(value, np.ndarray)
    }
    save(tmp_path / "poor", dataclasses.replace(poor, **shuffled), evaluator="other")
    out = tmp_path / "differences.json"
    result = paired(
        f"--a={tmp_path}/fold*",
        f"--b={tmp_path}/poor",
        f"--answers_a={ANSWERS}",
        "--answers_b=test/other/task",
        f"--out={out}",
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())
    once = np.ones((1, 80))
    expected = good.metrics(once)["auroc"][0] - poor.metrics(once)["auroc"][0]
    assert found[f"{ANSWERS}/auroc"] == pytest.approx(expected)
    assert 0 < found[f"{ANSWERS}/auroc_ci_low"] < expected < found[f"{ANSWERS}/auroc_ci_high"]
    assert f"{ANSWERS}/auroc " in result.stdout


def test_all_answers_and_ranks_of_one_name_are_compared(tmp_path):
    patients = np.repeat(np.arange(10), 2)
    a = save(tmp_path / "a", predictions(scores(0, 1.0)), up=(np.ones(20, np.int64), patients))
    b = save(tmp_path / "b", predictions(scores(0, 1.0)), up=(np.full(20, 2), patients))
    out = tmp_path / "differences.json"
    result = paired(f"--a={a}", f"--b={b}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())
    assert found[f"{ANSWERS}/auroc"] == found[f"{ANSWERS}/auroc_ci_high"] == 0
    assert found["test/probe/up/recall_at_1"] == found["test/probe/up/recall_at_1_ci_low"] == 1


def test_ranks_of_studies_and_of_slices_are_compared_over_their_patients(tmp_path):
    patients = np.array([f"p{i}" for i in range(12)])
    study = save(tmp_path / "a", predictions(scores(0, 1.0)), study=(np.ones(12, int), patients))
    ranks = [*np.tile([1, 2, 2], 11).tolist(), 1, 1, 1]
    of_slices = (np.array(ranks), np.repeat(patients, 3))
    slices = save(tmp_path / "b", predictions(scores(0, 1.0)), slices=of_slices)
    out = tmp_path / "differences.json"
    names = ("--answers_a=test/probe/study", "--answers_b=test/probe/slices")
    result = paired(f"--a={study}", f"--b={slices}", *names, f"--out={out}")
    assert result.returncode == 0, result.stderr
    found, name = json.loads(out.read_text()), "test/probe/study/recall_at_1"
    assert found[name] == pytest.approx(1 - 14 / 36)
    assert 0.4 < found[f"{name}_ci_low"] < found[name] < found[f"{name}_ci_high"] < 0.7
    with pytest.raises(ValueError, match="measured on different images, patients or labels"):
        difference_by_patient((np.ones(11, int), patients[1:]), of_slices, "x", 100)


def test_mistakes_end_in_one_sentence(tmp_path):
    a = save(tmp_path / "a", predictions(scores(0, 1.0)))
    fewer = save(tmp_path / "fewer", predictions(scores(0, 1.0, count=40)))
    other = save(tmp_path / "other", predictions(scores(0, 1.0)), evaluator="other")
    for arguments, sentence in (
        ((f"--a={a}", f"--b={fewer}"), "measured on different images"),
        ((f"--a={a}", f"--b={other}"), "have no answers of one name"),
        ((f"--a={a}", f"--b={tmp_path}/no*"), "no* does not exist"),
        ((f"--a={a}", f"--b={a}", "--answers_a=x", "--answers_b=y"), "--a has no answers 'x'"),
    ):
        result = paired(*arguments)
        assert result.returncode == 2
        assert sentence in result.stderr
        assert "Traceback" not in result.stderr


def test_cautions_of_either_model_stand_beside_the_differences(tmp_path):
    for name, seed, counts in (("a", 0, (3, 4)), ("b", 1, (2, 0))):
        for fold, count in enumerate(counts):
            part = scores(seed, 1.0)[40 * fold : 40 * fold + 40]
            folder = tmp_path / f"{name}{fold}"
            save(folder, predictions(part, first=40 * fold))
            rows = {"TRAINED_ON_MEASURED_PATIENTS": count} if count else {}
            (folder / "metrics.json").write_text(json.dumps(rows | {"test/probe/images": 40}))
    out = tmp_path / "out.json"
    result = paired(f"--a={tmp_path}/a*", f"--b={tmp_path}/b*", f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert "not to be read without TRAINED_ON_MEASURED_PATIENTS" in result.stdout
    differences = json.loads(out.read_text())
    assert differences["TRAINED_ON_MEASURED_PATIENTS"] == 7
    assert not any("images" in name for name in differences)
