"""Measuring what lies in a folder: a run, or a fine-tuned classifier."""

import pathlib
from collections.abc import Sequence

import jax

from lumbarclip_jax.classifier import Classifier
from lumbarclip_jax.evaluators import STANDARD
from lumbarclip_jax.evaluators.metrics_file import TRAINED_STEPS
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.suite import evaluate_split
from lumbarclip_jax.finetune import saved
from lumbarclip_jax.run_folder.run import load_run

Measured = tuple[dict[str, float], Kept]


def measured(
    folder: pathlib.Path,
    data_dir: str,
    split: str,
    *,
    evaluators: Sequence[str] | None,
    resamples: int,
    unit: str = "",
) -> Measured:
    """The metrics of a folder's model, and the answers behind them.

    Args:
      folder: of a run, of a classifier, or of the export of either.
      data_dir: the data set; "" for the model's own.
      split: of the data set.
      evaluators: of a run, by name; None for the standard ones. A classifier has its own tasks.
      resamples: of patients, for the intervals.
      unit: what a row is, of a run; "" for that of its config.

    Raises:
      FileNotFoundError: there is no model, or no data set.
      ValueError: a file is damaged, or the split cannot be measured as asked.
    """
    if not saved.holds(folder):
        return _of_run(folder, data_dir, split, evaluators or STANDARD, resamples, unit)
    if evaluators is not None:
        raise ValueError("--evaluators is for runs: a classifier is measured on its own tasks")
    if unit:
        raise ValueError("--unit is for runs: a classifier says the classes of images")
    return _of_classifier(folder, data_dir, split, resamples)


def _of_run(
    folder: pathlib.Path,
    data_dir: str,
    split: str,
    evaluators: Sequence[str],
    resamples: int,
    unit: str,
) -> Measured:
    run = load_run(folder)
    if unit:
        run.config.eval.unit = unit
    dataset = run.dataset(data_dir)
    cautions = run.cautions(dataset, split)
    metrics, kept = evaluate_split(
        run.embedder(dataset), run.state, split, resamples=resamples, names=evaluators
    )
    return metrics | cautions | {TRAINED_STEPS: float(run.state.step)}, kept


def _of_classifier(folder: pathlib.Path, data_dir: str, split: str, resamples: int) -> Measured:
    if jax.process_count() > 1:
        raise ValueError("a classifier is measured by one process: leave out --distributed")
    classifier = Classifier(folder)
    dataset = classifier.dataset(data_dir)
    beside = classifier.cautions(dataset, split)
    if steps := classifier.definition.begun_from.get("steps"):
        beside |= {TRAINED_STEPS: float(steps)}
    metrics, kept = classifier.measured(dataset, split, resamples=resamples)
    return beside | metrics, kept
