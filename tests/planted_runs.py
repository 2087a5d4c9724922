"""Complete run folders of a sweep with predictions made up for the purpose, nothing trained."""

import json
import pathlib
from types import SimpleNamespace

import numpy as np

from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.predictions_file import save_kept
from lumbarclip_jax.sweep.plan import PlannedRun

CONFIG = {
    "total_steps": 5,
    "data": {"global_batch_size": 8, "image_size_px": 32},
    "model": {"image_encoder": {"name": "vit"}, "projection": {"kind": "linear"}},
}
MANIFEST = {
    "name": "made_up",
    "source": "a test",
    "splits": {name: {"patients": n} for name, n in (("train", 6), ("test", 4))},
}


def predictions(labels, positive, patients) -> Predictions:
    """A binary task on one level, from the probabilities of the positive class."""
    positive = np.array(positive, np.float64)
    return Predictions(
        classes=("no", "yes"),
        labels=np.array(labels),
        probabilities=np.stack([1 - positive, positive], axis=1),
        patient_id=np.array(patients),
        level=np.full(len(labels), "L4-L5"),
        image_id=np.array([f"image of {patient}" for patient in patients]),
    )


def planned(out: pathlib.Path, model: str, *, seed: int = 0, resplit: str = "") -> PlannedRun:
    """A run of a config called encoder_head."""
    config = json.loads(json.dumps(CONFIG))
    encoder, _, head = model.partition("_")
    config["model"]["image_encoder"]["name"] = encoder
    config["model"]["projection"]["kind"] = head
    folder = out / "runs" / "_".join(filter(None, (model, resplit, f"seed{seed}")))
    return PlannedRun(model, resplit, seed, config, (), folder)


def complete(run: PlannedRun, *, ranks, patients, metrics=None, level_only=None, **tasks) -> None:
    """Writes what a complete run leaves: ranks image_to_text, and zero-shot `tasks` by name."""
    blind = {} if level_only is None else {f"{name}/level_only": level_only for name in tasks}
    evaluators = {
        "retrieval": SimpleNamespace(
            split="test", ranks={"image_to_text": (np.array(ranks), np.array(patients))}
        ),
        "zero_shot": SimpleNamespace(split="test", predictions=tasks),
        "linear_probe": SimpleNamespace(split="test", predictions=blind),
    }
    run.folder.mkdir(parents=True)
    save_kept(evaluators, run.folder / "predictions.npz")
    (run.folder / "metrics.json").write_text(json.dumps(metrics or {}))
    (run.folder / "data_manifest.json").write_text(json.dumps(MANIFEST))
    (run.folder / "report.html").write_text("")
