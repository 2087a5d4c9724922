"""Complete run folders of a sweep with predictions made up for the purpose, nothing trained."""

import json
import pathlib

import numpy as np

from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.predictions_file import Kept, save_kept
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


def complete(
    run: PlannedRun,
    *,
    ranks,
    patients,
    metrics=None,
    level_only=None,
    split="test",
    beside=None,
    **tasks,
) -> None:
    """Writes what a complete run leaves: ranks image_to_text, and zero-shot `tasks` by name.

    `beside` are (ranks, patients) of further splits, by their names.
    """
    of_splits = {split: (ranks, patients)} | (beside or {})
    kept = Kept(
        ranks={
            f"{name}/retrieval/image_to_text": (np.array(of[0]), np.array(of[1]))
            for name, of in of_splits.items()
        }
    )
    for name, predicted in tasks.items():
        kept.predictions[f"test/zero_shot/{name}"] = predicted
        if level_only is not None:
            kept.predictions[f"test/linear_probe/{name}/level_only"] = level_only
    run.folder.mkdir(parents=True)
    save_kept(kept, run.folder / "predictions.npz")
    (run.folder / "metrics.json").write_text(json.dumps(metrics or {}))
    (run.folder / "data_manifest.json").write_text(json.dumps(MANIFEST))
    (run.folder / "report.html").write_text("")
