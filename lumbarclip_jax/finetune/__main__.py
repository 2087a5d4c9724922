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
of unequal size are dealt with by --strategy, see lumbarclip_jax/losses/imbalance.
Hyper-parameters are set as --recipe.epochs=60, see lumbarclip_jax/finetune/recipe.py. The epoch is
chosen on the validation split, which --label_fraction leaves whole.

The same command continues one that was stopped, bit for bit: until it is finished, OUT/.unfinished
has checkpoints of the last epoch and of the best.

--out gets metrics.json, with intervals over patients, predictions.npz, and the
classifier: classifier.json, classifier.safetensors and trained_patients.txt. It is used with
`lumbarclip_jax.load(OUT)`, measured on other data with `lumbarclip_jax.evaluate --workdir=OUT` and
passed on with `lumbarclip_jax.export`. Of several folds each leaves all of these in OUT/fold_1,
OUT/fold_2 and so on, in the order they were named, and OUT itself has the pooled numbers. The
baseline `pixels` keeps no classifier.

For one run OUT is RUN/finetune/<task>+<task>, unless something else is asked for; the report page
of the run shows every folder in RUN/finetune.
"""

from absl import flags
from ml_collections import config_flags

from data_prep.process import signals
from lumbarclip_jax.finetune.options import Options
from lumbarclip_jax.finetune.recipe import default_recipe
from lumbarclip_jax.losses.imbalance import NAMES
from lumbarclip_jax.process import cli

WORKDIR = flags.DEFINE_list("workdir", [], "folder of the trained run, or one of each fold")
FROM_SCRATCH = flags.DEFINE_boolean("from_scratch", False, "start from new weights")
BASELINE = flags.DEFINE_enum("baseline", None, ["small_cnn", "pixels"], "measure a baseline")
TASK = flags.DEFINE_list("task", None, "one or more tasks of the data set", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", "", "data set folder (default: the run's own)")
FOLDS = flags.DEFINE_integer("folds", 0, "folds by patient; 0 = the splits of the data set", 0)
SPLIT = flags.DEFINE_string("split", "test", "split to measure")
STRATEGY = flags.DEFINE_enum("strategy", "mamix_drw", NAMES, "against imbalance")
LABEL_FRACTION = flags.DEFINE_float("label_fraction", 1.0, "part of the training patients to use")
SEED = flags.DEFINE_integer("seed", 0, "of weights, order, augmentation and the part of patients")
RECIPE = config_flags.DEFINE_config_dict("recipe", default_recipe(), "hyper-parameters")
OUT = flags.DEFINE_string(
    "out",
    None,
    "folder for the classifier, metrics.json and predictions.npz (default, for one --workdir on "
    "its own data set: <workdir>/finetune/<task>+<task>)",
)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)


def asked() -> Options:
    return Options(
        workdirs=WORKDIR.value,
        from_scratch=FROM_SCRATCH.value,
        baseline=BASELINE.value,
        tasks=TASK.value,
        data_dir=DATA_DIR.value,
        folds=FOLDS.value,
        split=SPLIT.value,
        strategy=STRATEGY.value,
        label_fraction=LABEL_FRACTION.value,
        seed=SEED.value,
        recipe=RECIPE.value,
        out=OUT.value,
        resamples=RESAMPLES.value,
    )


def main() -> None:
    signals.set_resumable(BASELINE.value != "pixels")
    # Imported here: neither --help nor a mistake in the flags should wait for JAX.
    from lumbarclip_jax.finetune import command

    command.run(asked())


if __name__ == "__main__":
    cli.run(main, check=asked)
