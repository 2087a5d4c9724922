"""The files of a published checkpoint: found in a folder or on the Hugging Face hub, and read.

Nothing is unpickled: a pickle runs whatever code its author put into it.
"""

import json
import pathlib
import re
from typing import Any

import numpy as np
import safetensors.numpy
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from safetensors import SafetensorError

# Names of weight files without their ending, in the order they are looked for.
WEIGHTS = ("model", "open_clip_model")
# Types of numbers, by their names in safetensors, that need no scale to be read; integers and
# booleans are buffers.
READABLE = re.compile(r"F64|F32|F16|BF16|BOOL|[IU]\d+")
PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
FETCHED = (
    "config.json",
    "open_clip_config.json",
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "open_clip_model.safetensors",
)


def find_folder(path_or_name: str | pathlib.Path) -> pathlib.Path:
    """An existing folder as it is; any other name is fetched from the Hugging Face hub.

    Without a network, or with HF_HUB_OFFLINE=1, the hub's cache on this machine is used.

    Raises:
      ValueError: it is a file.
      FileNotFoundError: there is no such folder, and no such model on the hub or in its cache.
    """
    path = pathlib.Path(path_or_name).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        refuse_pickle(path)
        raise ValueError(f"{path} is a file: pass the folder that holds it beside its config.json")
    name = str(path_or_name)
    try:
        return pathlib.Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except HFValidationError as error:
        raise FileNotFoundError(
            f"there is no folder {name}: pass a folder with config.json and model.safetensors, or "
            "the name of a model on the Hugging Face hub, such as google-bert/bert-base-uncased"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{name} is neither a folder nor a public model on the Hugging Face hub: check the "
            "name, or run `hf auth login` if the model is private or gated"
        ) from error
    except OSError as error:
        raise FileNotFoundError(
            f"{name} is neither a folder nor in the Hugging Face cache of this machine, and the "
            f"hub cannot be reached: run `hf download {name} --local-dir FOLDER` where there is a "
            "network, copy FOLDER (config.json, model.safetensors and, for texts, vocab.txt) here "
            "and pass its path"
        ) from error


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} has no {path.name}: pass the folder of a published checkpoint with "
            "config.json and model.safetensors"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch the file again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object: fetch the file again")
    return content


def read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a folder's safetensors, in one file or in shards; floats come as float32.

    Raises:
      FileNotFoundError: the folder has no safetensors, or lacks a shard.
      ValueError: a file is damaged, or the weights are there as a pickle only.
    """
    for name in WEIGHTS:
        whole, index = folder / f"{name}.safetensors", folder / f"{name}.safetensors.index.json"
        if whole.is_file():
            return read_file(whole)
        if index.is_file():
            return read_shards(index)
    # The optimizer's pickle may lie beside the model's.
    for path in sorted(folder.iterdir(), key=lambda path: ("model" not in path.name, path.name)):
        refuse_pickle(path)
    raise FileNotFoundError(
        f"{folder} has no model.safetensors: place the published one there or, if it is published "
        f"as a pickle only, place that there and run {conversion(folder / 'pytorch_model.bin')}"
    )


def read_shards(index: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of every file that an index of shards names."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError(f"{index} has no weight_map: fetch the file again")
    tensors = {}
    for name in sorted(set(weight_map.values())):
        if pathlib.PurePath(name).name != name:
            raise ValueError(f"{index} names a file outside its folder, {name!r}: do not trust it")
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index.parent / name} is missing: {index.name} names it")
        tensors |= read_file(index.parent / name)
    if lost := sorted(weight_map.keys() - tensors.keys()):
        raise ValueError(
            f"the shards beside {index} lack {len(lost)} tensors it names, {lost[0]} among them: "
            "fetch index and shards together"
        )
    return tensors


def read_file(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of one file.

    Raises:
      ValueError: it is damaged, or holds numbers of a type that says little without a scale.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            names = file.keys()
            for key in names:
                if not READABLE.fullmatch(name := file.get_slice(key).get_dtype()):
                    raise ValueError(
                        f"{path} holds {key} in {name}: pass a checkpoint in float32, float16 or "
                        "bfloat16"
                    )
        tensors = safetensors.numpy.load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or damaged ({error}; {path.stat().st_size} bytes): fetch it again"
        ) from error
    return {key: as_float32(tensor) for key, tensor in tensors.items()}


def as_float32(tensor: np.ndarray) -> np.ndarray:
    """Half-precision and double floats as float32; integers as they are."""
    if tensor.dtype.kind in "iub":
        return tensor
    return tensor.astype(np.float32, copy=False)


def refuse_pickle(path: pathlib.Path) -> None:
    """Raises ValueError with the command that converts it if the file is a pickle."""
    if path.suffix in PICKLE_ENDINGS:
        raise ValueError(
            f"{path} is a pickle, which can run code when it is opened: convert it where PyTorch "
            f"is installed with {conversion(path)} and pass {path.parent}"
        )


def conversion(path: pathlib.Path) -> str:
    """The shell command that writes the weights of a pickle to a safetensors file beside it."""
    # Tied weights share memory, which safetensors refuses; training code often nests the weights.
    code = (
        "import torch, safetensors.torch as st; "
        f"w = torch.load(r'{path}', map_location='cpu', weights_only=True); "
        "w = w.get('state_dict', w.get('model', w)); "
        "w = {k: v.contiguous().clone() for k, v in w.items()}; "
        f"st.save_file(w, r'{path.parent / 'model.safetensors'}')"
    )
    return f'python -c "{code}"'


def square_side(size: int | list[int], path: pathlib.Path) -> int:
    """The side of a square that a config gives as one number or as a pair.

    Raises:
      ValueError: the pair is no square.
    """
    sides = size if isinstance(size, list | tuple) else [size]
    if len(set(sides)) != 1:
        raise ValueError(f"{path} describes images or patches of {sides}: pass a model of squares")
    return sides[0]
