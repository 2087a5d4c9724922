"""All evaluators over one split, and what to do with their numbers."""

import json
import pathlib

from absl import logging

from lumbarclip_jax.evaluators import EVALUATORS


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
    """Logs one line a number, with its interval and chance where it has them."""
    for name, value in metrics.items():
        if name.endswith(("_ci_low", "_ci_high", "_chance")):
            continue
        line = f"{name} {value:.3f}"
        if f"{name}_ci_low" in metrics:
            line += f"  [{metrics[f'{name}_ci_low']:.3f}, {metrics[f'{name}_ci_high']:.3f}]"
        if f"{name}_chance" in metrics:
            line += f"  chance {metrics[f'{name}_chance']:.3f}"
        logging.info(line)
