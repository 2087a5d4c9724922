"""A fine-tune as it is asked for on the command line: what it starts from, trains and keeps."""

import contextlib
import dataclasses
import logging
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from data_prep.process.signals import Stopped
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import Task, named
from lumbarclip_jax.evaluators import metrics_file, predictions_file
from lumbarclip_jax.evaluators.metrics_file import TRAINED_STEPS, save_metrics
from lumbarclip_jax.finetune import initial_encoder, measuring, pixels, saved, training
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.network import Ensemble
from lumbarclip_jax.finetune.options import Options
from lumbarclip_jax.finetune.recipe import plain_recipe
from lumbarclip_jax.process.cache import keep_compiled
from lumbarclip_jax.report.console import log_summary
from lumbarclip_jax.run_folder import lock, trained_patients
from lumbarclip_jax.run_folder.files import (
    CONFIG_FILE,
    DATA_MANIFEST_FILE,
    FINETUNE_FOLDER,
    METRICS_FILE,
)
from lumbarclip_jax.run_folder.run import load_run

TRAINING_FOLDER = ".unfinished"  # in which a fine-tune lies until it is finished

log = logging.getLogger("lumbarclip_jax.finetune")


def run(options: Options) -> None:
    """Trains, measures and saves; see `lumbarclip_jax.finetune`.

    Raises:
      FileNotFoundError: a run or data set is missing.
      ValueError: the folder is another's, or the data cannot be learnt from.
      OSError: the folder cannot be written.
    """
    keep_compiled()
    name = options.name
    out = _out(options)
    if options.baseline == "pixels":
        _fit(options, name, out)
        return
    place, is_finished, is_new = out / TRAINING_FOLDER, False, not out.exists()
    with lock.held(place, "--out"):
        try:
            is_finished = _fit(options, name, out)
        finally:
            # What it was for is done, or never began.
            if is_finished or not any(place.rglob("checkpoints")):
                shutil.rmtree(place, ignore_errors=True)
                if is_new:
                    with contextlib.suppress(OSError):
                        out.rmdir()  # of a mistake, nothing else is there


def _fit(options: Options, name: str, out: pathlib.Path) -> bool:
    """Trains, measures and saves; whether it came to its end, and no signal ended it before."""
    training_folder = out / TRAINING_FOLDER
    several = max(len(options.workdirs), options.folds) > 1
    answered, beside, classifiers = [], {}, set()
    for number, fold in enumerate(_folds(options), start=1):
        tasks = named(options.tasks, fold.dataset.tasks, str(fold.dataset.folder))
        train_examples, validation, measured = (
            Examples.of(fold.dataset, split, tasks)
            for split in ("train", "validation", options.split)
        )
        part = train_examples.part_of_patients(options.label_fraction, options.seed)
        log.info("%s %s: %d training images", fold.dataset.folder, fold.dataset.resplit, len(part))
        place = training_folder / f"fold_{number}" if several else training_folder
        try:
            classifier = _classifier(options, fold.initial, part, validation, place)
        except Stopped:  # which the log has told of
            return False
        # Numbers of an earlier fine-tune are none of what comes to lie beside them.
        (out / METRICS_FILE).unlink(missing_ok=True)
        fitted = measuring.fitted(classifier, part, validation)
        answered.append(measuring.answers(classifier, fitted, measured))
        beside = metrics_file.beside(beside, fold.beside)
        if isinstance(classifier, Ensemble):
            folder = out / f"fold_{number}" if several else out
            _save_classifier(options, folder, name, classifier, part, fitted, fold)
            classifiers.add(folder)
            if several:
                _save_numbers(options, folder, name, answered[-1], fold.beside)
    # An earlier fine-tune into the same folder may have left others.
    for folder in {out, *out.glob("fold_*")} - classifiers:
        saved.remove(folder)
    found = measuring.pooled(answered) if several else answered[0]
    log_summary(_save_numbers(options, out, name, found, beside))
    if classifiers:
        log.info("lumbarclip_jax.load() takes %s", ", ".join(map(str, sorted(classifiers))))
    else:
        log.info("the baseline %s keeps no classifier, only its numbers and answers", name)
    return True


def _save_numbers(
    options: Options,
    folder: pathlib.Path,
    name: str,
    answers: dict[Task, measuring.Answers],
    beside: Mapping[str, float],
) -> dict[str, float]:
    """Measures, writes and returns the metrics: the last file, a folder that has it has all."""
    metrics, kept = measuring.measured(name, options.split, answers, resamples=options.resamples)
    metrics = {**beside, **metrics}
    predictions_file.save_kept(kept, folder / predictions_file.FILE)
    save_metrics(metrics, folder / METRICS_FILE)
    return metrics


def _out(options: Options) -> pathlib.Path:
    """--out, or the folder of these tasks in the run's own."""
    if options.out:
        out = pathlib.Path(options.out)
        if (out / CONFIG_FILE).is_file():
            raise ValueError(
                f"--out={out} is the folder of a run: give the fine-tune one of its own, such as "
                f"{out / FINETUNE_FOLDER / '+'.join(options.tasks)}"
            )
        return out
    out = pathlib.Path(options.workdirs[0]) / FINETUNE_FOLDER / "+".join(options.tasks)
    if (out / METRICS_FILE).exists():
        raise ValueError(
            f"{out} holds an earlier fine-tune: remove it, or keep both with --out={out}_2"
        )
    return out


@dataclasses.dataclass(frozen=True)
class Fold:
    """A data set, what training starts from on it, and what to file beside its numbers.

    `begun_from` is as in `saved.Definition`, and `seen` the patients of its training; None where
    these are not known.
    """

    dataset: Dataset
    initial: initial_encoder.InitialEncoder
    beside: dict[str, float]
    begun_from: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: frozenset[str] | None = frozenset()


def _folds(options: Options) -> Iterator[Fold]:
    for folder in options.workdirs:
        run = load_run(folder)
        dataset = run.dataset(options.data_dir)
        if not options.out and not run.is_own(dataset):
            raise ValueError(
                f"--out is missing: {dataset.folder} is not the data set of {folder}, whose page "
                f"shows what lies in its folder {FINETUNE_FOLDER}"
            )
        initial = initial_encoder.from_run(run, new_weights=options.from_scratch)
        if options.from_scratch:
            yield Fold(dataset, initial, dataset.cautions)
            continue
        beside = run.cautions(dataset, options.split) | {TRAINED_STEPS: float(run.state.step)}
        has_own = (run.folder / DATA_MANIFEST_FILE).is_file()
        begun_from = {
            "run": run.config.name,
            "steps": int(run.state.step),
            "on_other_data": not (has_own and run.is_own(dataset)),
        }
        yield Fold(dataset, initial, beside, begun_from, run.patients_of_training())
    if not options.workdirs:
        initial = (
            initial_encoder.small_cnn() if options.baseline else initial_encoder.small_resnet()
        )
        count = options.folds
        Dataset(options.data_dir, check_shards=True)  # once for all folds
        for resplit in [f"fold_{k}_of_{count}" for k in range(1, count + 1)] or [""]:
            dataset = Dataset(options.data_dir, resplit)
            yield Fold(dataset, initial, dataset.cautions)


def _classifier(
    options: Options,
    initial: initial_encoder.InitialEncoder,
    part: Examples,
    validation: Examples,
    folder: pathlib.Path,
) -> training.Classifier:
    if options.baseline == "pixels":
        return pixels.fit_pixels(part, validation)
    recipe, strategy = _recipe(options)
    return training.train(
        initial, part, validation, recipe, strategy=strategy, seed=options.seed, folder=folder
    )


def _recipe(options: Options) -> tuple[ConfigDict, str]:
    """The hyper-parameters and the strategy of a network."""
    if options.baseline == "small_cnn":
        return plain_recipe(), "erm"
    return options.recipe, options.strategy


def _save_classifier(
    options: Options,
    folder: pathlib.Path,
    name: str,
    classifier: Ensemble,
    part: Examples,
    fitted: measuring.Fitted,
    fold: Fold,
) -> None:
    """Writes a classifier with all that using and measuring it later needs."""
    definition = saved.define(
        name,
        classifier,
        part,
        fitted,
        strategy=_recipe(options)[1],
        seed=options.seed,
        label_fraction=options.label_fraction,
        begun_from=fold.begun_from,
    )
    patients = trained_patients.digests(part.columns.patient_id)
    # Numbers of an earlier fine-tune are none of this classifier's.
    (folder / METRICS_FILE).unlink(missing_ok=True)
    seen = None if fold.seen is None else fold.seen | patients
    saved.save(folder, definition, classifier, seen)
