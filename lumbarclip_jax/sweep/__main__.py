"""python -m lumbarclip_jax.sweep --configs='configs/{vit,swin,resnet}_{linear,mlp}.py' --out=DIR

Trains every config with several seeds and writes their ablation as one table: table.md, table.csv
and table.html in --out, with intervals, baselines, the best of a column in bold and a mark where
the MLP head differs from the linear one; table.html draws them too, and links to the runs. With
--baseline=NAME, one of the configs, each of the others is compared with that one instead, and the
paired differences have tables of their own. Any field is set for all runs:
--config.total_steps=300.

Runs go to --out/runs, each trained by `lumbarclip_jax.main` in its own process, with its own report
page and log.txt. The same command continues a stopped sweep: complete runs are skipped, interrupted
ones go on from their checkpoint. With more --seeds or --configs it trains what is new.

Ends with status 1 when a run failed; the table names it, and has the others.
"""

import logging
import pathlib
import shlex
import sys

from absl import flags

from data_prep.process import signals
from lumbarclip_jax.process import cli
from lumbarclip_jax.sweep.plan import plan_runs, split_arguments

CONFIGS = flags.DEFINE_string(
    "configs",
    None,
    "run files, with {a,b} for alternatives and * as in a shell; in quotes",
    required=True,
)
OUT = flags.DEFINE_string("out", None, "folder of the sweep", required=True)
DATA_DIR = flags.DEFINE_string("data_dir", "", "data set folder (default: the embedded phantom)")
SIZE = flags.DEFINE_enum("size", "full", ["full", "quick"], "size of all runs")
SEEDS = flags.DEFINE_integer("seeds", 3, "runs of each config, with seeds from 0 on", 1)
FOLDS = flags.DEFINE_integer(
    "folds", 0, "test every patient once, in so many folds; 0 = the test split of the data set", 0
)
BASELINE = flags.DEFINE_string(
    "baseline", "", "name of the config that all others are compared with, such as vit_linear"
)
LEAKY_SPLIT = flags.DEFINE_boolean(
    "leaky_split", False, "also train on slices dealt out without a look at the patient"
)
JOBS = flags.DEFINE_integer("jobs", 1, "runs at a time", 1)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.sweep")


def main(overrides: list[str], command: str) -> None:
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.sweep.pages import write_pages
    from lumbarclip_jax.sweep.runner import train
    from lumbarclip_jax.sweep.summary import summary

    if FOLDS.value == 1:
        raise ValueError("--folds=1 would leave nothing to train on: use 2 or more, or 0")
    out = pathlib.Path(OUT.value)
    runs = plan_runs(
        CONFIGS.value,
        size=SIZE.value,
        seeds=SEEDS.value,
        folds=FOLDS.value,
        leaky=LEAKY_SPLIT.value,
        data_dir=DATA_DIR.value,
        overrides=overrides,
        out=out,
    )
    models = list(dict.fromkeys(run.model for run in runs))
    if BASELINE.value and BASELINE.value not in models:
        raise ValueError(f"--baseline={BASELINE.value} is none of {', '.join(models)}")
    try:
        with signals.raised():
            failures = train(runs, JOBS.value)
    except signals.Stopped:
        log.info("stopped; the same command continues")
        sys.exit(1)
    found = summary(runs, failures, command, RESAMPLES.value, out, BASELINE.value)
    paths = write_pages(found, out)
    log.info("open %s", paths[-2])
    if failures:
        log.error("%d of %d runs failed: %s", len(failures), len(runs), ", ".join(failures))
        sys.exit(1)


if __name__ == "__main__":
    own, passed_on = split_arguments(sys.argv)
    asked = shlex.join(["python", "-m", "lumbarclip_jax.sweep", *sys.argv[1:]])
    cli.run(lambda: main(passed_on, asked), own)
