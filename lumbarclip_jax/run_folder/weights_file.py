"""All parameters and running statistics of a model in one safetensors file, under our names."""

import pathlib
from collections.abc import Mapping

import jax
import numpy as np
import safetensors.numpy

from data_prep.process.files import write_whole
from lumbarclip_jax.models.pretrained import key_tables
from lumbarclip_jax.run_folder.files import CONFIG_FILE

FILE = "model.safetensors"


def flat(variables: dict) -> dict[str, np.ndarray]:
    """Host arrays by path, `params/image_encoder/...` and `batch_stats/...`."""
    return {path: np.asarray(leaf) for path, leaf in key_tables.flatten(jax.device_get(variables))}


def nested(arrays: dict) -> dict:
    """The inverse of `flat`; a model without running statistics has no `batch_stats`."""
    variables: dict = {}
    for path, array in arrays.items():
        key_tables.insert(variables, path, array)
    return variables


def save(path: pathlib.Path, variables: dict, step: int) -> None:
    """Writes {"params": ..., "batch_stats": ...} and the optimizer step they are from."""
    save_tensors(path, flat(variables), {"step": str(step)})


def save_tensors(
    path: pathlib.Path, tensors: dict[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file that whoever may read its folder may read.

    `safetensors.numpy.save_file` leaves it to its owner alone, as a temporary file is.

    Raises:
      OSError: it cannot be written; the sentence names it.
    """
    write_whole(path, safetensors.numpy.save(tensors, metadata=metadata))


def load(path: pathlib.Path, abstract: dict) -> tuple[dict, int]:
    """Returns (variables, step), each array on the sharding of its abstract one.

    Raises:
      ValueError: the arrays are not those of `abstract`; every difference is listed.
    """
    with safetensors.safe_open(path, framework="numpy") as file:
        step = int(file.metadata()["step"])
    arrays = safetensors.numpy.load_file(path)
    require_fit(path, arrays, abstract, CONFIG_FILE)
    expected = dict(key_tables.flatten(abstract))
    placed = {key: jax.device_put(arrays[key], expected[key].sharding) for key in expected}
    return {"params": {}, "batch_stats": {}} | nested(placed), step


def require_fit(
    path: pathlib.Path, arrays: Mapping[str, np.ndarray], abstract: dict, definition: str
) -> None:
    """Checks that the arrays of a file, by path, are those of `abstract`, which `definition` names.

    Raises:
      ValueError: they are not; every difference is listed.
    """
    expected = dict(key_tables.flatten(abstract))
    differences = [f"{key} is missing" for key in expected.keys() - arrays.keys()]
    differences += [f"{key} is unexpected" for key in arrays.keys() - expected.keys()]
    differences += [
        f"{key} is {arrays[key].shape}, not {expected[key].shape}"
        for key in expected.keys() & arrays.keys()
        if arrays[key].shape != expected[key].shape
    ]
    if differences:
        raise ValueError(
            f"{path} does not fit the model of its {definition}: {'; '.join(sorted(differences))}. "
            "Use both files of one export"
        )
