"""Both encoders as StableHLO: programs that need neither this package nor flax, only jax and numpy.

Weights lie beside the programs instead of inside: constants of hundreds of megabytes would slow
down every compilation.
"""

import pathlib
import shutil
from typing import Any

import flatbuffers
import jax
import jax.export
import jax.numpy as jnp

from lumbarclip_jax.export import model_card
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models import build_model
from lumbarclip_jax.process import xla_guard
from lumbarclip_jax.run_folder import weights_file
from lumbarclip_jax.run_folder.files import VOCABULARY_FILE
from lumbarclip_jax.run_folder.run import Run

PLATFORMS = ("cpu", "cuda", "tpu")
STANDALONE = pathlib.Path(__file__).parent / "standalone.py"


def write(run: Run, folder: pathlib.Path) -> None:
    """Writes `encode_image` and `encode_text`, each as a program of any batch size and its weights.

    The programs compute in float32 whatever the run computed in: one file for all platforms gives
    the same embeddings on each, and a CPU has no fast bfloat16.
    """
    data = run.config.data
    model = build_model(run.config.model, run.tokenizer.vocab_size, jnp.float32)

    def encode_image(weights, images):
        variables = weights_file.nested(weights)
        pixels = prepare_images(images, data)
        outputs: Any = model.apply(variables, pixels, method="encode_image")
        return outputs["image_embeds"]

    def encode_text(weights, input_ids, attention_mask):
        variables = weights_file.nested(weights)
        tokens = (input_ids, attention_mask)
        outputs: Any = model.apply(variables, *tokens, method="encode_text")
        return outputs["text_embeds"]

    size, (batch,) = run.data_manifest["image"]["size_px"], jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, size, size, 1), jnp.uint8)
    tokens = jax.ShapeDtypeStruct((batch, data.max_tokens), jnp.int32)
    weights = weights_file.flat({"params": run.state.params, "batch_stats": run.state.batch_stats})
    _write_program(folder, encode_image, _without(weights, "text_"), images)
    _write_program(folder, encode_text, _without(weights, "image_"), tokens, tokens)

    shutil.copyfile(run.folder / VOCABULARY_FILE, folder / VOCABULARY_FILE)
    shutil.copyfile(STANDALONE, folder / "encoders.py")
    shutil.copyfile(xla_guard.__file__, folder / "xla_guard.py")
    # jax reads its exported programs with flatbuffers, a few small files, but does not install it.
    shutil.copytree(
        pathlib.Path(flatbuffers.__file__).parent,
        folder / "flatbuffers",
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    model_card.write(run, folder, library="jax", usage="stablehlo.md.j2", platforms=PLATFORMS)


def _without(weights: dict, tower: str) -> dict:
    """The weights but those of one tower, and of heads for labels: a program embeds."""
    left_out = (f"/{tower}", "/head_")
    return {path: of for path, of in weights.items() if not any(part in path for part in left_out)}


def _write_program(folder: pathlib.Path, function, weights: dict, *inputs) -> None:
    shapes = {path: jax.ShapeDtypeStruct(w.shape, w.dtype) for path, w in weights.items()}
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shapes, *inputs)
    name = function.__name__
    (folder / f"{name}.stablehlo").write_bytes(exported.serialize())
    weights_file.save_tensors(folder / f"{name}.safetensors", weights)
