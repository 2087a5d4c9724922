"""What the numbers of a sweep are, in sentences made from its runs."""

import json
from collections.abc import Sequence

import lumbarclip_jax
from lumbarclip_jax.report.verdict import is_invented
from lumbarclip_jax.run_folder.files import DATA_MANIFEST_FILE
from lumbarclip_jax.sweep.contrasts import SIGNIFICANT
from lumbarclip_jax.sweep.plan import PlannedRun
from lumbarclip_jax.sweep.runner import is_complete
from lumbarclip_jax.sweep.table import Table


def notes(runs: Sequence[PlannedRun], table: Table, resamples: int) -> list[str]:
    """Sentences about data, training, intervals, marks and baselines."""
    done = [run for run in runs if not run.is_leaky and is_complete(run)]
    manifest = json.loads((done[0].folder / DATA_MANIFEST_FILE).read_text())
    patients = {name: counts["patients"] for name, counts in manifest["splits"].items()}
    if done[0].resplit:
        protocol = (
            f"{len({run.resplit for run in done})} folds by patient of {sum(patients.values())} "
            "patients, equal reports kept together. Each patient is tested by the model that "
            "never saw it, and the predictions of all folds are pooled; ranks are among the "
            "candidates of a fold. What a fold has too few labelled patients for, such as a rare "
            "finding, is pooled over the other folds."
        )
    else:
        each = ", ".join(f"{count} {name}" for name, count in patients.items())
        measured = _listed(measure.name.split for measure in table.measures)
        protocol = f"Split by patient ({each}), measured on {measured}."
    steps = _listed(run.config["total_steps"] for run in done)
    batch = _listed(run.config["data"]["global_batch_size"] for run in done)
    side = _listed(run.config["data"]["image_size_px"] for run in done)
    compared = {model: of.than for (model, _), of in table.contrasts.items()}
    if table.baseline:
        higher = f"▲ higher than {table.baseline}, ▼ lower"
        over = f"{len(compared)} others"
        nothing = f"No other model has the seeds of {table.baseline}, so nothing is marked."
        if table.baseline not in {row.model for row in table.rows}:
            nothing = f"{table.baseline} has no complete run yet, so nothing is compared with it."
    else:
        higher = "▲ the MLP head is higher than the linear head of the same encoder, ▼ lower"
        over = f"{len(compared)} encoders"
        nothing = "No encoder has both heads on the same seeds, so nothing is marked."
    marks = (
        f"{higher}: paired bootstrap of patients, two-sided p < {SIGNIFICANT} after Holm's "
        f"correction over the {over} of a column. Columns are not corrected for one another."
    )
    invented = (
        "Invented patients: every image and report was made by a program, and no number here says "
        "how a model does on a real patient."
    )
    return [
        *([invented] if is_invented(manifest) else []),
        f"Data set {manifest['name']} ({manifest.get('source', 'source not given')}). {protocol}",
        f"Training: {steps} steps of {batch} pairs, images of {side} px. Each number is the mean "
        f"over seeds, of which there are {_listed(row.seeds for row in table.rows)}.",
        f"In brackets its 95 % interval over {resamples:,} resamples of the patients, the same "
        "for all seeds and models, or the exact one of recall and accuracy that are 0 or 1. It "
        "covers which patients were tested, not the chance in training: for that see the standard "
        "deviation over seeds in table.csv.",
        "Bold is the highest of the models in a column, which need not differ from the next by "
        "more than chance.",
        marks if compared else nothing,
        "Chance is what a model that looks at nothing reaches. “Disc level alone” is a probe that "
        "is told which level the image shows, and nothing else. Zero-shot prompts name the level, "
        "so only “AUROC within level” is about the pixels alone. Means over classes are plain "
        "(macro).",
        f"Written by lumbarclip_jax {lumbarclip_jax.__version__}.",
    ]


def _listed(values) -> str:
    return " or ".join(str(value) for value in sorted(set(values)))
