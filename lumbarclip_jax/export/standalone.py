"""Runs the encoders of this folder with jax and numpy alone.

from encoders import load

encode_image = load("encode_image")
encode_text = load("encode_text")
image_embeds = encode_image(images)  # uint8 [B, S, S, 1] -> float32 [B, E], unit length
text_embeds = encode_text(input_ids, attention_mask)  # int32 [B, T] each -> float32 [B, E]
"""

import json
import pathlib
from collections.abc import Callable

import jax
import jax.export
import numpy as np
import xla_guard

FOLDER = pathlib.Path(__file__).parent

# Before the first array is made: some versions of JAX add up wrongly on a CPU.
xla_guard.install()


def load(name: str) -> Callable[..., np.ndarray]:
    """The encoder `name`, compiled once for each batch size it meets."""
    exported = jax.export.deserialize(bytearray((FOLDER / f"{name}.stablehlo").read_bytes()))
    weights = jax.device_put(read_safetensors(FOLDER / f"{name}.safetensors"))
    program = jax.jit(exported.call)
    return lambda *inputs: np.asarray(program(weights, *inputs))


def read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The float32 arrays of a safetensors file by name."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int(data[:8].view(np.uint64)[0])
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    return {
        name: data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        .view(np.float32)
        .reshape(entry["shape"])
        for name, entry in header.items()
    }
