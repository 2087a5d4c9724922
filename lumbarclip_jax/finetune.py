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

--out gets metrics.json, with intervals over patients, and predictions.npz. For one run
it is RUN/finetune/<task>+<task>, unless something else is asked for; the report page of the run
shows every folder in RUN/finetune.
"""

import logging
import pathlib
from collections.abc import Iterator

from absl import flags
from ml_collections import config_flags

from lumbarclip_jax import cli, metrics_file
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators import kept, suite
from lumbarclip_jax.evaluators.tasks import TASKS
from lumbarclip_jax.fine_tuning import measuring, pixels, start, training
from lumbarclip_jax.fine_tuning.examples import Examples
from lumbarclip_jax.fine_tuning.recipe import default_recipe, plain_recipe
from lumbarclip_jax.imbalance import STRATEGIES
from lumbarclip_jax.metrics_file import TRAINED_STEPS, save_metrics
from lumbarclip_jax.run import FINETUNE_FOLDER, METRICS_FILE, load_run

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
    "folder for metrics.json and predictions.npz (default, for one --workdir on its own data set: "
    f"<workdir>/{FINETUNE_FOLDER}/<task>+<task>)",
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
    folds, beside = [], {}
    for dataset, begin, of_fold in _folds():
        train_examples, validation, measured = (
            Examples.of(dataset, split, tasks) for split in ("train", "validation", SPLIT.value)
        )
        part = train_examples.part_of_patients(LABEL_FRACTION.value, SEED.value)
        log.info("%s %s: %d training images", dataset.folder, dataset.resplit, len(part))
        classifier = _classifier(begin, part, validation)
        folds.append(measuring.answers(classifier, part, validation, measured))
        beside = metrics_file.beside(beside, of_fold)
    found = folds[0] if len(folds) == 1 else measuring.pooled(folds)
    measurement = measuring.Measurement(name, SPLIT.value, found, resamples=RESAMPLES.value)
    metrics = beside | dict(measurement.run())
    suite.log_metrics(metrics)
    # The metrics last: a folder that has them has all.
    kept.save_kept({name: measurement}, out / kept.FILE)
    save_metrics(metrics, out / METRICS_FILE)


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
        return pathlib.Path(OUT.value)
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


def _folds() -> Iterator[tuple[Dataset, start.Start, dict[str, float]]]:
    """Of each fold the data set, what training starts from on it, and what to file beside."""
    for folder in WORKDIR.value:
        run = load_run(folder)
        dataset = run.dataset(DATA_DIR.value)
        if not OUT.value and not run.is_own(dataset):
            raise ValueError(
                f"--out is missing: {dataset.folder} is not the data set of {folder}, whose page "
                f"shows what lies in its folder {FINETUNE_FOLDER}"
            )
        beside = dataset.cautions
        if not FROM_SCRATCH.value:
            beside = run.cautions(dataset, SPLIT.value) | {TRAINED_STEPS: float(run.state.step)}
        yield dataset, start.from_run(run, new_weights=FROM_SCRATCH.value), beside
    if not WORKDIR.value:
        begin = start.small_cnn() if BASELINE.value else start.small_resnet()
        count = FOLDS.value
        Dataset(DATA_DIR.value, check_shards=True)  # once for all folds
        for resplit in [f"fold_{k}_of_{count}" for k in range(1, count + 1)] or [""]:
            dataset = Dataset(DATA_DIR.value, resplit)
            yield dataset, begin, dataset.cautions


def _classifier(begin: start.Start, part: Examples, validation: Examples) -> training.Classifier:
    if BASELINE.value == "pixels":
        return pixels.fit_pixels(part, validation)
    recipe, strategy = RECIPE.value, STRATEGY.value
    if BASELINE.value == "small_cnn":
        recipe, strategy = plain_recipe(), "erm"
    return training.train(begin, part, validation, recipe, strategy=strategy, seed=SEED.value)


if __name__ == "__main__":
    cli.run(main)
