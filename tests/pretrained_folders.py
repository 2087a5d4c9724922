"""Folders of tiny published checkpoints, written from the arrays recorded in tests/golden."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.golden.cases import CASES

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = ("bert", "vit", "swin", "resnet")


def recorded(model: str, part: str) -> dict[str, np.ndarray]:
    """The recorded arrays whose names start with `part`, such as "weights/", less that part."""
    with np.load(GOLDEN / f"{model}.npz") as arrays:
        return {k.removeprefix(part): arrays[k] for k in arrays.files if k.startswith(part)}


def config(family: str, **overrides) -> dict:
    """The config.json that belongs to the recorded weights."""
    return {"model_type": family} | CASES[family].published | overrides


def write(
    folder: Path, family: str, tensors: dict[str, np.ndarray] | None = None, **overrides
) -> Path:
    """A folder with config.json and model.safetensors, by default the recorded ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(family, **overrides)))
    tensors = recorded(family, "weights/") if tensors is None else tensors
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_vocabulary(path: Path, size: int) -> None:
    """A BERT vocabulary of `size` tokens, most of them never used."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "disc", "bulge", "stenosis", "##s"]
    words += [f"[unused{i}]" for i in range(size - len(words))]
    path.write_text("\n".join(words) + "\n")
