"""python -m lumbarclip_jax.evaluate --workdir=runs/x --data_dir=DIR --split=test --out=NAME.json

Measures a trained run on any split of any data set built by `data_prep.build`, and writes the
metrics to NAME.json and what was answered, row by row, to NAME.npz. The report page of the run
shows what lies in its folder `evaluate`: --out=runs/x/evaluate/NAME.json, for a measurement on its
own data set. With --distributed, several processes share the encoding.

--workdir may also be the folder of a classifier that `lumbarclip_jax.finetune` left, or of its
export. It is measured on its own tasks, as `finetune` measured it, by one process.
"""

import pathlib

from absl import flags

from lumbarclip_jax.evaluators import EVALUATORS, STANDARD, UNITS
from lumbarclip_jax.evaluators.metrics_file import save_metrics
from lumbarclip_jax.process import cli, hosts

WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder of the trained run, or of a classifier", required=True
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "data set folder (default: the run's own)")
SPLIT = flags.DEFINE_string("split", "test", "split to measure")
OUT = flags.DEFINE_string("out", None, "JSON file for the metrics; answers go beside it")
EVALUATE = cli.define_names(
    "evaluators", list(STANDARD), EVALUATORS, "what to measure of a run, of"
)
UNIT = flags.DEFINE_enum(
    "unit", None, UNITS, "what a row is that is measured of a run (default: its config.eval.unit)"
)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)
flags.adopt_module_key_flags(hosts)


def main() -> None:
    with hosts.joined():
        # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
        import jax

        from lumbarclip_jax.evaluate import trained_folder
        from lumbarclip_jax.evaluators import predictions_file
        from lumbarclip_jax.report.console import log_summary

        asked = EVALUATE.value if flags.FLAGS["evaluators"].present else None
        metrics, kept = trained_folder.measured(
            pathlib.Path(WORKDIR.value),
            DATA_DIR.value or "",
            SPLIT.value,
            evaluators=asked,
            resamples=RESAMPLES.value,
            unit=UNIT.value or "",
        )
        log_summary(metrics)
        if OUT.value and jax.process_index() == 0:
            out = pathlib.Path(OUT.value)
            predictions_file.save_kept(kept, predictions_file.beside(out))
            save_metrics(metrics, out)


if __name__ == "__main__":
    cli.run(main)
