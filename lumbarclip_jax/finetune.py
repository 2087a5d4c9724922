"""python -m lumbarclip_jax.finetune --workdir=runs/x --task=pfirrmann_ge_3

Trains an image classifier on labels and measures it. There are three ways:

  --workdir=RUN      starts from the image encoder of a trained run, on the run's own splits; runs
                     that were trained on several folds are pooled: --workdir=RUN_1,RUN_2
  --from_scratch     starts from new weights: of a small ResNet made for hundreds of patients and a
                     CPU, or with --workdir of that run's image encoder
  --baseline=NAME    small_cnn, a plain small network, trained on slices and their mirror images;
                     or pixels, a logistic regression on principal components of pixels and the
                     disc level

Without --workdir a --data_dir is needed, and --folds=5 repeats all on five folds by patient, whose
test splits are measured as one.

Several tasks share one encoder, with a head each: --task=pfirrmann_ge_3,disc_displacement. Classes
of unequal size are dealt with by --strategy, see lumbarclip_jax/imbalance. Hyper-parameters are set
as --recipe.epochs=60, see lumbarclip_jax/fine_tuning/recipe.py. The epoch is chosen on the
validation split, which --label_fraction leaves whole.

--out gets metrics.json, with intervals over patients, predictions.npz, and the
classifier: classifier.json, classifier.safetensors and trained_patients.txt. It is used with
`lumbarclip_jax.load(OUT)`, measured on other data with `lumbarclip_jax.evaluate --workdir=OUT` and
passed on with `lumbarclip_jax.export`. Of several folds each leaves all of these in OUT/fold_1,
OUT/fold_2 and so on, in the order they were named, and OUT itself has the pooled numbers. The
baseline `pixels` keeps no classifier.

For one run OUT is RUN/finetune/<task>+<task>, unless something else is asked for; the report page
of the run shows every folder in RUN/finetune.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from lumbarclip_jax import cli, metrics_file, trained_patients
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators import kept, suite
from lumbarclip_jax.evaluators.tasks import TASKS, Task
from lumbarclip_jax.fine_tuning import measuring, pixels, saved, start, training
from lumbarclip_jax.fine_tuning.examples import Examples
from lumbarclip_jax.fine_tuning.network import Ensemble
from lumbarclip_jax.fine_tuning.recipe import default_recipe, plain_recipe
from lumbarclip_jax.imbalance import STRATEGIES
from lumbarclip_jax.metrics_file import TRAINED_STEPS, save_metrics
from lumbarclip_jax.run import (
    CONFIG_FILE,
    DATA_MANIFEST_FILE,
    FINETUNE_FOLDER,
    METRICS_FILE,
    load_run,
)

WORKDIR = flags.DEFINE_list("workdir", [], "folder of the trained run, or one of each fold")
FROM_SCRATCH = flags.DEFINE_boolean("from_scratch", False, "start from new weights")
BASELINE = flags.DEFINE_enum("baseline", None, ["small_cnn", "pixels"], "measure a baseline")
TASK = flags.DEFINE_list("task", None, f"one or more of {', '.join(TASKS)}", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", "", "data set folder (default: the run's own)")
FOLDS = flags.DEFINE_integer("folds", 0, "folds by patient; 0 = the splits of the data set", 0)
SPLIT = flags.DEFINE_string("split", "test", "split to measure")
STRATEGY = flags.DEFINE_enum("strategy", "mamix_drw", list(STRATEGIES), "against imbalance")
LABEL_FRACTION = flags.DEFINE_float("label_fraction", 1.0, "part of the training patients to use")
SEED = flags.DEFINE_integer("seed", 0, "of weights, order, augmentation and the part of patients")
RECIPE = config_flags.DEFINE_config_dict("recipe", default_recipe(), "hyper-parameters")
OUT = flags.DEFINE_string(
    "out",
    None,
    "folder for the classifier, metrics.json and predictions.npz (default, for one --workdir on "
    f"its own data set: <workdir>/{FINETUNE_FOLDER}/<task>+<task>)",
)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.finetune")


def main() -> None:
    name = _name()
    if unknown := set(TASK.value) - set(TASKS):
        raise ValueError(f"--task={unknown.pop()} is not one of {', '.join(TASKS)}")
    tasks = tuple(TASKS[task] for task in TASK.value)
    out = _out()
    several = max(len(WORKDIR.value), FOLDS.value) > 1
    answered, beside, classifiers = [], {}, set()
    for number, fold in enumerate(_folds(), start=1):
        train_examples, validation, measured = (
            Examples.of(fold.dataset, split, tasks)
            for split in ("train", "validation", SPLIT.value)
        )
        part = train_examples.part_of_patients(LABEL_FRACTION.value, SEED.value)
        log.info("%s %s: %d training images", fold.dataset.folder, fold.dataset.resplit, len(part))
        classifier = _classifier(fold.start, part, validation)
        fitted = measuring.fitted(classifier, part, validation)
        answered.append(measuring.answers(classifier, fitted, measured))
        beside = metrics_file.beside(beside, fold.beside)
        if isinstance(classifier, Ensemble):
            folder = out / f"fold_{number}" if several else out
            _save_classifier(folder, name, classifier, part, fitted, fold)
            classifiers.add(folder)
            if several:
                _save_numbers(folder, name, answered[-1], fold.beside)
    # An earlier fine-tune into the same folder may have left others.
    for folder in {out, *out.glob("fold_*")} - classifiers:
        saved.remove(folder)
    found = measuring.pooled(answered) if several else answered[0]
    suite.log_metrics(_save_numbers(out, name, found, beside))
    if classifiers:
        log.info("lumbarclip_jax.load() takes %s", ", ".join(map(str, sorted(classifiers))))
    else:
        log.info("the baseline %s keeps no classifier, only its numbers and answers", name)


def _save_numbers(
    folder: pathlib.Path,
    name: str,
    answers: dict[Task, measuring.Answers],
    beside: Mapping[str, float],
) -> dict[str, float]:
    """Measures, writes and returns the metrics: the last file, a folder that has it has all."""
    measurement = measuring.Measurement(name, SPLIT.value, answers, resamples=RESAMPLES.value)
    metrics = {**beside, **dict(measurement.run())}
    kept.save_kept({name: measurement}, folder / kept.FILE)
    save_metrics(metrics, folder / METRICS_FILE)
    return metrics


def _name() -> str:
    """What the numbers are filed under."""
    if BASELINE.value and (WORKDIR.value or FROM_SCRATCH.value):
        raise ValueError("--baseline is trained by itself: leave out --workdir and --from_scratch")
    if BASELINE.value and RECIPE.value != default_recipe():
        raise ValueError("--recipe is not for --baseline, which has settings of its own")
    if not (WORKDIR.value or FROM_SCRATCH.value or BASELINE.value):
        raise ValueError("pass --workdir, --from_scratch or --baseline, to say what to start from")
    if WORKDIR.value and FOLDS.value:
        raise ValueError("--folds is not for --workdir: name the runs of all folds instead")
    if not (WORKDIR.value or DATA_DIR.value):
        raise ValueError("--data_dir is missing: without --workdir there is no run that knows it")
    return BASELINE.value or ("from_scratch" if FROM_SCRATCH.value else "finetune")


def _out() -> pathlib.Path:
    """--out, or the folder of these tasks in the run's own."""
    if OUT.value:
        out = pathlib.Path(OUT.value)
        if (out / CONFIG_FILE).is_file():
            raise ValueError(
                f"--out={out} is the folder of a run: give the fine-tune one of its own, such as "
                f"{out / FINETUNE_FOLDER / '+'.join(TASK.value)}"
            )
        return out
    if len(WORKDIR.value) != 1 or FROM_SCRATCH.value:
        raise ValueError(
            "--out is missing: only what starts from the weights of one --workdir has a folder "
            "there by default"
        )
    out = pathlib.Path(WORKDIR.value[0]) / FINETUNE_FOLDER / "+".join(TASK.value)
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
    start: start.Start
    beside: dict[str, float]
    begun_from: dict[str, Any] = dataclasses.field(default_factory=dict)
    seen: frozenset[str] | None = frozenset()


def _folds() -> Iterator[Fold]:
    for folder in WORKDIR.value:
        run = load_run(folder)
        dataset = run.dataset(DATA_DIR.value)
        if not OUT.value and not run.is_own(dataset):
            raise ValueError(
                f"--out is missing: {dataset.folder} is not the data set of {folder}, whose page "
                f"shows what lies in its folder {FINETUNE_FOLDER}"
            )
        begin = start.from_run(run, new_weights=FROM_SCRATCH.value)
        if FROM_SCRATCH.value:
            yield Fold(dataset, begin, dataset.cautions)
            continue
        beside = run.cautions(dataset, SPLIT.value) | {TRAINED_STEPS: float(run.state.step)}
        has_own = (run.folder / DATA_MANIFEST_FILE).is_file()
        begun_from = {
            "run": run.config.name,
            "steps": int(run.state.step),
            "on_other_data": not (has_own and run.is_own(dataset)),
        }
        yield Fold(dataset, begin, beside, begun_from, run.patients_of_training())
    if not WORKDIR.value:
        begin = start.small_cnn() if BASELINE.value else start.small_resnet()
        count = FOLDS.value
        Dataset(DATA_DIR.value, check_shards=True)  # once for all folds
        for resplit in [f"fold_{k}_of_{count}" for k in range(1, count + 1)] or [""]:
            dataset = Dataset(DATA_DIR.value, resplit)
            yield Fold(dataset, begin, dataset.cautions)


def _classifier(begin: start.Start, part: Examples, validation: Examples) -> training.Classifier:
    if BASELINE.value == "pixels":
        return pixels.fit_pixels(part, validation)
    recipe, strategy = _recipe()
    return training.train(begin, part, validation, recipe, strategy=strategy, seed=SEED.value)


def _recipe() -> tuple[ConfigDict, str]:
    """The hyper-parameters and the strategy of a network."""
    if BASELINE.value == "small_cnn":
        return plain_recipe(), "erm"
    return RECIPE.value, STRATEGY.value


def _save_classifier(
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
        strategy=_recipe()[1],
        seed=SEED.value,
        label_fraction=LABEL_FRACTION.value,
        begun_from=fold.begun_from,
    )
    patients = trained_patients.digests(part.columns.patient_id)
    # Numbers of an earlier fine-tune are none of this classifier's.
    (folder / METRICS_FILE).unlink(missing_ok=True)
    seen = None if fold.seen is None else fold.seen | patients
    saved.save(folder, definition, classifier, seen)


if __name__ == "__main__":
    cli.run(main)
