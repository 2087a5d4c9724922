"""A new folder with a trained model in it, in the format that was asked for."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from data_prep.process import signals
from lumbarclip_jax.run_folder import checksums

if TYPE_CHECKING:
    from lumbarclip_jax.run_folder.run import Run

FORMATS = ("hf", "safetensors", "stablehlo")


def export(workdir: str | pathlib.Path, format: str, out: str | pathlib.Path) -> None:
    """Writes the trained model of `workdir` to the new folder `out`.

    Args:
      workdir: folder of a run, of a classifier, or of the safetensors export of either.
      format: one of `FORMATS`.
      out: appears when it is whole; an empty folder is taken, any other is refused.

    Raises:
      FileNotFoundError: `workdir` holds no trained model.
      ValueError: `out` is taken, the format is none or none of this model's, or the newest
        checkpoint is damaged: what was measured was measured on that one.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no format {format}: choose from {', '.join(FORMATS)}")
    # Imported here: `FORMATS` is read where JAX must not start.
    from lumbarclip_jax.classifier import Classifier
    from lumbarclip_jax.export import classifier, huggingface, model_card, safetensors, stablehlo
    from lumbarclip_jax.finetune import saved
    from lumbarclip_jax.run_folder.run import load_run

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
            run = load_run(workdir)
            if run.model.pools_studies and format != "safetensors":
                raise ValueError(
                    f"{workdir} pools the images of a study (model.study_pooling="
                    f"{run.config.model.study_pooling!r}), which has no form in {format}: export "
                    "it with --format=safetensors"
                )
            writers[format].write(_without_paths(run), folder)
        # People may add to the card.
        checksums.write(folder, but=(model_card.FILE,))


def _without_paths(run: "Run") -> "Run":
    """The run with a config that names no folder of this machine, nor the hospital it is called."""
    config = ConfigDict(run.config.to_dict())
    config.data.update(dir="", dirs=())
    model, data = config.model, config.data
    for part, field in (
        (model, "pretrained"),
        (model.image_encoder, "pretrained"),
        (model.text_encoder, "pretrained"),
        (data.perturb, "table"),
        (data.prompts, "table"),
    ):
        if part[field] and pathlib.Path(part[field]).exists():
            part[field] = pathlib.Path(part[field]).name
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
