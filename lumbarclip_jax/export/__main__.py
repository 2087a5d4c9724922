"""python -m lumbarclip_jax.export --workdir=runs/x --format=hf|safetensors|stablehlo --out=DIR

Writes a trained run in a format that others read, with a model card:

    hf           folders that Hugging Face `transformers` loads, and the projections beside them
    safetensors  one file with everything, for `lumbarclip_jax.load` on any machine
    stablehlo    both encoders as programs that need only jax and numpy

--workdir may also be the folder of a classifier that `lumbarclip_jax.finetune` left: it is written
with --format=safetensors alone.
"""

import logging
import pathlib

from absl import flags

from lumbarclip_jax.export import FORMATS, export
from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.export")


def _define_flags() -> None:
    # Defined when run as a command alone: a program that imports `export` has flags of its own.
    flags.DEFINE_string(
        "workdir", None, "folder of the trained run, of a classifier, or of a safetensors export"
    )
    flags.DEFINE_enum("format", None, FORMATS, "what to write")
    flags.DEFINE_string("out", None, "folder to write; must not exist or be empty")
    flags.mark_flags_as_required(["workdir", "format", "out"])


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    export(options.workdir, options.format, options.out)
    size = sum(path.stat().st_size for path in pathlib.Path(options.out).rglob("*"))
    log.info("%s, %.1f MB: read its README.md", options.out, size / 1e6)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
