"""All evaluators over one split."""

import logging
from collections.abc import Mapping, Sequence

from lumbarclip_jax.evaluators import STANDARD, evaluator_class
from lumbarclip_jax.evaluators.names import LOW
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.process import activity

log = logging.getLogger(__name__)

PROBES = ("linear_probe", "few_shot", "alignment")
FITTED_ON = ("train", "validation")

# In metrics measured by study: their rows are no images.
BY_STUDY = "MEASURED_BY_STUDY"
# Evaluators that no study can be asked, and why.
OF_IMAGES = {"label_heads": "the heads of objective.labels say classes of an image at its disc"}

# Ends of the names that are logged of a validation; all others are in the file.
FIRST = (
    *("recall_at_5", "precision_at_5", "_median_rank"),
    *("auroc", "auroc_within_level", "/quadratic_kappa"),
)

SHOWN = 4  # numbers of a validation


def evaluate_split(
    embedder,
    state,
    split: str,
    *,
    resamples: int,
    names: Sequence[str] = STANDARD,
) -> tuple[dict[str, float], Kept]:
    """Runs evaluators on a split.

    Where rows are studies, `BY_STUDY` is among the metrics, counts of rows end in `studies` and not
    in `images`, and evaluators of `OF_IMAGES` are left out, with a warning.

    Returns:
      (metrics by name, what was kept of the rows behind them).

    Raises:
      ValueError: there is no evaluator of a name.
    """
    classes = {name: evaluator_class(name) for name in names}
    if split in FITTED_ON and set(names) & set(PROBES):
        log.warning("probes are fitted on %s: what they reach there is no test", split)
    metrics, kept = {}, Kept()
    for name, each in classes.items():
        if embedder.unit == "study" and name in OF_IMAGES:
            reason = f"{OF_IMAGES[name]}: measure with eval.unit='image'"
            log.warning("%s/%s is not measured by study, as %s", split, name, reason)
            continue
        activity.now(f"measuring {name} on {split}")
        found, answered = each(embedder, split=split, resamples=resamples).run(state)
        metrics, kept = metrics | found, kept | answered
    if embedder.unit == "study":
        counted = {_of_studies(name): value for name, value in metrics.items()}
        metrics = {BY_STUDY: 1.0, **counted}
    return metrics, kept


def _of_studies(name: str) -> str:
    head, _, last = name.rpartition("/")
    return f"{head}/studies" if last == "images" else name


def log_validation(step: int, metrics: Mapping[str, float]) -> None:
    """Logs in a line what validation found first."""
    found = [
        f"{name.partition('/')[2]} {value:.3f}"
        for name, value in metrics.items()
        if name.endswith(FIRST) and f"{name}{LOW}" in metrics
    ]
    log.info("validation at step %d: %s", step, ", ".join(found[:SHOWN]) or "nothing to measure")
