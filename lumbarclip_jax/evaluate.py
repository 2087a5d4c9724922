"""python -m lumbarclip_jax.evaluate --workdir=runs/x --data_dir=DIR --split=test --out=NAME.json

Measures a trained run on any split of any data set built by `data_prep.build`, and writes the
metrics to NAME.json and what was answered, row by row, to NAME.npz. The report page of the run
shows what lies in its folder `evaluate`: --out=runs/x/evaluate/NAME.json, for a measurement on its
own data set. With --distributed, several processes share the encoding.

--workdir may also be the folder of a classifier that `lumbarclip_jax.finetune` left, or of its
export. It is measured on its own tasks, as `finetune` measured it, by one process.
"""

import pathlib

import jax
from absl import flags

from lumbarclip_jax import cli, hosts
from lumbarclip_jax.classifier import Classifier
from lumbarclip_jax.evaluators import EVALUATORS, STANDARD, kept
from lumbarclip_jax.evaluators.suite import evaluate_split, log_metrics
from lumbarclip_jax.fine_tuning import saved
from lumbarclip_jax.metrics_file import TRAINED_STEPS, save_metrics
from lumbarclip_jax.run import load_run

WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder of the trained run, or of a classifier", required=True
)
DATA_DIR = flags.DEFINE_string("data_dir", None, "data set folder (default: the run's own)")
SPLIT = flags.DEFINE_string("split", "test", "split to measure")
OUT = flags.DEFINE_string("out", None, "JSON file for the metrics; answers go beside it")
EVALUATE = flags.DEFINE_list(
    "evaluators", list(STANDARD), f"what to measure of a run, of {', '.join(EVALUATORS)}"
)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)
flags.adopt_module_key_flags(hosts)


def main() -> None:
    with hosts.joined():
        folder = pathlib.Path(WORKDIR.value)
        measure = _of_classifier if saved.holds(folder) else _of_run
        metrics, evaluators = measure(folder)
        log_metrics(metrics)
        if OUT.value and jax.process_index() == 0:
            out = pathlib.Path(OUT.value)
            kept.save_kept(evaluators, kept.beside(out))
            save_metrics(metrics, out)


def _of_run(folder: pathlib.Path) -> tuple[dict[str, float], dict[str, object]]:
    """The metrics of a run and the evaluators that kept its answers."""
    run = load_run(folder)
    dataset = run.dataset(DATA_DIR.value or "")
    cautions = run.cautions(dataset, SPLIT.value)
    metrics, evaluators = evaluate_split(
        run.embedder(dataset),
        run.state,
        SPLIT.value,
        resamples=RESAMPLES.value,
        names=EVALUATE.value,
    )
    return metrics | cautions | {TRAINED_STEPS: float(run.state.step)}, evaluators


def _of_classifier(folder: pathlib.Path) -> tuple[dict[str, float], dict[str, object]]:
    """Likewise of a classifier."""
    if flags.FLAGS["evaluators"].present:
        raise ValueError("--evaluators is for runs: a classifier is measured on its own tasks")
    if jax.process_count() > 1:
        raise ValueError("a classifier is measured by one process: leave out --distributed")
    classifier = Classifier(folder)
    dataset = classifier.dataset(DATA_DIR.value or "")
    beside = classifier.cautions(dataset, SPLIT.value)
    if steps := classifier.definition.begun_from.get("steps"):
        beside |= {TRAINED_STEPS: float(steps)}
    measurement = classifier.measurement(dataset, SPLIT.value, resamples=RESAMPLES.value)
    return beside | dict(measurement.run()), {measurement.name: measurement}


if __name__ == "__main__":
    cli.run(main)
