"""python -m lumbarclip_jax.authors_protocol --data_dir=DIR --out=DIR

Asks of every patient what the authors' public code of LumbarCLIP asks, low back pain or not, on its
split, and writes README.md and answers.csv to --out: always the most frequent answer, the words of
the report, linear classifiers on frozen features of images, reports and both, zero-shot by
sentences, and a fine-tune; by image and by patient, of every run file configs/authors_*.py under
three objectives. The data set is built with that split and its labels:

  python -m data_prep.build ... --split_file authors_split.csv --label_table authors_split.csv

Runs go to --runs, each as of `lumbarclip_jax.sweep`. The same command continues what was stopped.
Any field is set for all runs, --config.total_steps=300, and for all fine-tunes, --recipe.epochs=10.
"""

import logging
import pathlib
import shlex
import sys

from absl import flags

from data_prep.process import signals
from lumbarclip_jax.process import cli
from lumbarclip_jax.sweep.plan import split_arguments

DATA_DIR = flags.DEFINE_string("data_dir", None, "data set folder", required=True)
OUT = flags.DEFINE_string("out", None, "folder of the page", required=True)
RUNS = flags.DEFINE_string("runs", "", "folder of the runs (default: OUT/runs)")
CONFIGS = flags.DEFINE_string(
    "configs",
    "configs/authors_{resnet,swin_t,swin_b}_{linear,mlp}.py",
    "run files, as of the sweep",
)
TASK = flags.DEFINE_string("task", "lbp", "task of two classes of patients")
SIZE = flags.DEFINE_enum("size", "full", ["full", "quick"], "size of all runs")
SEEDS = flags.DEFINE_integer("seeds", 3, "runs of each config, with seeds from 0 on", 1)
JOBS = flags.DEFINE_integer("jobs", 1, "runs that are trained or measured at a time", 1)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)
OBJECTIVES = cli.define_names(
    "objectives", ["labels", "soft_clip", "clip"], ("labels", "soft_clip", "clip"), "some of"
)
SPLIT = "test"

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.authors_protocol")


def main(overrides: list[str], recipe: list[str], command: str) -> None:
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.authors_protocol import answers, measuring, page, plan
    from lumbarclip_jax.data.dataset import Dataset
    from lumbarclip_jax.data.tasks import named
    from lumbarclip_jax.sweep.runner import train

    dataset = Dataset(DATA_DIR.value, check_shards=True)
    named([TASK.value], dataset.tasks, DATA_DIR.value)
    out = pathlib.Path(OUT.value)
    folder = pathlib.Path(RUNS.value) if RUNS.value else out / "runs"
    out.mkdir(parents=True, exist_ok=True)
    blind = answers.without_images(dataset, TASK.value, SPLIT)
    runs = plan.planned(
        OBJECTIVES.value,
        CONFIGS.value,
        size=SIZE.value,
        seeds=SEEDS.value,
        data_dir=DATA_DIR.value,
        overrides=overrides,
        out=folder,
    )
    failures: dict[str, str] = {}
    try:
        with signals.raised():
            failures = train([run for of in runs.values() for run in of], JOBS.value)
    except signals.Stopped:
        log.info("stopped; the same command continues")
        sys.exit(1)
    lines = [page.line_of(way, [of], RESAMPLES.value) for way, of in blind.items()]
    measured = measuring.of_runs(runs, folder, TASK.value, SPLIT, recipe, JOBS.value)
    for (objective, model), seeds in measured.items():
        lines += [
            page.line_of(
                way, [of[way] for of in seeds], RESAMPLES.value, objective=objective, model=model
            )
            for way in seeds[0]
        ]
    paths = page.write(
        lines,
        out,
        measured=blind[answers.ALWAYS],
        command=command,
        resamples=RESAMPLES.value,
        facts=plan.facts(dataset.manifest, [run for of in runs.values() for run in of]),
    )
    log.info("open %s", paths[0])
    if failures:
        log.error("%d runs failed: %s", len(failures), ", ".join(failures))
        sys.exit(1)


if __name__ == "__main__":
    own, overrides = split_arguments(sys.argv)
    own, recipe = split_arguments(own, "--recipe.")
    asked = shlex.join(["python", "-m", "lumbarclip_jax.authors_protocol", *sys.argv[1:]])
    cli.run(lambda: main(overrides, recipe, asked), own)
