"""python -m lumbarclip_jax.export --workdir=runs/x --format=hf|safetensors|stablehlo --out=DIR

Writes a trained run in a format that others read, with a model card:

    hf           folders that Hugging Face `transformers` loads, and the projections beside them
    safetensors  one file with everything, for `lumbarclip_jax.load` on any machine
    stablehlo    both encoders as programs that need only jax and numpy

--workdir may also be the folder of a classifier that `lumbarclip_jax.finetune` left: it is written
with --format=safetensors alone.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import ConfigDict

from data_prep import signals
from lumbarclip_jax import checksums, cli

if TYPE_CHECKING:
    from lumbarclip_jax.run import Run

FORMATS = ("hf", "safetensors", "stablehlo")

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.export")


def export(workdir: str | pathlib.Path, format: str, out: str | pathlib.Path) -> None:
    """Writes the trained model of `workdir` to the new folder `out`.

    Args:
      workdir: folder of a run, of a classifier, or of the safetensors export of either.
      format: one of `FORMATS`.
      out: appears when it is whole; an empty folder is taken, any other is refused.

    Raises:
      FileNotFoundError: `workdir` holds no trained model.
      ValueError: `out` is taken, the model has no form in this format, or the newest checkpoint is
        damaged: what was measured was measured on that one.
    """
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.classifier import Classifier
    from lumbarclip_jax.exports import classifier, huggingface, model_card, safetensors, stablehlo
    from lumbarclip_jax.fine_tuning import saved
    from lumbarclip_jax.run import load_run

    writers = {"hf": huggingface, "safetensors": safetensors, "stablehlo": stablehlo}
    is_classifier = saved.holds(pathlib.Path(workdir))
    if is_classifier and format != "safetensors":
        raise ValueError(
            f"{workdir} is a classifier, which has no form in {format}: export it with "
            "--format=safetensors"
        )
    with _new_folder(pathlib.Path(os.path.abspath(out))) as folder:
        if is_classifier:
            classifier.write(Classifier(workdir), folder)
        else:
            writers[format].write(_without_paths(load_run(workdir)), folder)
        # People may add to the card.
        checksums.write(folder, but=(model_card.FILE,))


def _without_paths(run: "Run") -> "Run":
    """The run with a config that names no folder of this machine, nor the hospital it is called."""
    config = ConfigDict(run.config.to_dict())
    config.data.dir = ""
    for encoder in (config.model.image_encoder, config.model.text_encoder):
        if pathlib.Path(encoder.pretrained).exists():
            encoder.pretrained = pathlib.Path(encoder.pretrained).name
    return dataclasses.replace(run, config=config)


@contextlib.contextmanager
def _new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden folder beside `out` that becomes it when the block ends without an error."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder: delete it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir()
    with signals.removed_if_stopped(partial):
        try:
            yield partial
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


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
