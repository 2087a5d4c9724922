"""python -m lumbarclip_jax.report --workdir=runs/x

Draws the page of a run again, from the numbers and predictions in its folder and, where the data
set is at hand, with examples, a map of the embeddings, similarity maps and saliency.
"""

import logging
import pathlib

from absl import flags

from data_prep.records import manifest
from lumbarclip_jax.process import cli

log = logging.getLogger("lumbarclip_jax.report")

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the trained run", required=True)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "where its data set is now (default: where it was in training)"
)
OUT = flags.DEFINE_string("out", None, "HTML file (default: report.html in the run's folder)")


def main() -> None:
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.report.examples import find_examples
    from lumbarclip_jax.report.page import read_definition, write_report
    from lumbarclip_jax.run_folder.run import load_run

    folder = pathlib.Path(WORKDIR.value)
    config, _ = read_definition(folder)
    data_dir = pathlib.Path(DATA_DIR.value or config["data"]["dir"])
    if DATA_DIR.value or (data_dir / manifest.FILE).is_file():
        run = load_run(folder)
        dataset = run.dataset(DATA_DIR.value or "")
        if not run.is_own(dataset):
            raise ValueError(
                f"{data_dir} is not the data set that {folder} was measured on: pass that one; "
                "`python -m lumbarclip_jax.evaluate` measures a run on others"
            )
        examples = find_examples(run, run.embedder(dataset), config["eval"]["final_split"])
    else:
        log.warning(
            "there is no data set at %s: the page is drawn without what needs it; pass --data_dir",
            data_dir,
        )
        examples = None
    log.info("open %s", write_report(folder, examples=examples, out=OUT.value))


if __name__ == "__main__":
    cli.run(main)
