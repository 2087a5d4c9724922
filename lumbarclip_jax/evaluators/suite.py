"""All evaluators over one split, and what to do with their numbers."""

import json
import logging
import pathlib

from lumbarclip_jax.evaluators import EVALUATORS

log = logging.getLogger(__name__)


def evaluate_split(
    embedder,
    state,
    split: str,
    *,
    resamples: int,
    names: tuple[str, ...] = tuple(EVALUATORS),
) -> tuple[dict[str, float], dict[str, object]]:
    """Runs evaluators on a split.

    Returns:
      (metrics by name, the evaluators by name with what they kept for figures).
    """
    evaluators = {
        name: EVALUATORS[name](embedder, split=split, resamples=resamples) for name in names
    }
    metrics = {}
    for evaluator in evaluators.values():
        metrics.update(evaluator.run(state))
    return metrics, evaluators


def save_metrics(metrics: dict[str, float], path: pathlib.Path) -> None:
    """Writes the metrics as JSON, sorted by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(metrics.items())), indent=2) + "\n")


def log_metrics(metrics: dict[str, float]) -> None:
    """Logs the measured numbers, one a line with interval and chance; counts are in the file."""
    for name, value in metrics.items():
        if f"{name}_ci_low" in metrics:
            low, high = metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"]
            chance = metrics.get(f"{name}_chance")
            log.info(
                "%-62s %.3f [%.3f, %.3f]%s",
                name,
                value,
                low,
                high,
                "" if chance is None else f"  chance {chance:.3f}",
            )
