"""The forms of attention that a run was computed with, kept so that it goes on with the same bits.

A GPU's are chosen by timing (`models.attention.choice`), which need not end the same way twice. On
other devices, or with another JAX, the bits are others anyway, and another form may be the fastest
or the only one there is: there they are chosen anew.
"""

import json
import logging
import pathlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_prep.process.files import write_whole
from lumbarclip_jax.models.attention import choice

FILE = "attention.json"

log = logging.getLogger(__name__)


def adopt(workdir: pathlib.Path, *, is_resumed: bool) -> None:
    """Takes the forms kept in `workdir`. All processes call it, and take what process 0 finds.

    A log line says where a file is damaged, of other devices, or missing in a run that is resumed.
    """
    kept = {}
    if jax.process_index() == 0:
        try:
            kept = _read(workdir / FILE, is_resumed)
        except ValueError as fault:
            log.info("%s %s: forms of attention are chosen anew", workdir / FILE, fault)
    choice.adopt(_of_process_0(kept))


def keep(workdir: pathlib.Path) -> None:
    """Process 0 writes the forms that a GPU computes with, those chosen by now.

    Raises:
      OSError: the file cannot be written.
    """
    if jax.process_index() > 0 or jax.default_backend() != "gpu":
        return
    path = workdir / FILE
    content = json.dumps({"device": _device(), "forms": choice.chosen()}, indent=2) + "\n"
    if not path.is_file() or path.read_bytes() != content.encode():
        write_whole(path, content.encode())


def _device() -> dict[str, str]:
    kind = jax.devices()[0].device_kind
    return {"platform": jax.default_backend(), "kind": kind, "jax": jax.__version__}


def _read(path: pathlib.Path, is_resumed: bool) -> dict[str, str]:
    """The forms by kind of attention; ValueError says why those of a file are not taken."""
    device = _device()
    if not path.is_file():
        if is_resumed and device["platform"] == "gpu":
            raise ValueError("is missing")
        return {}
    try:
        content = json.loads(path.read_bytes())
        was, forms = dict(content["device"]), dict(content["forms"])
        if not all(isinstance(form, str) for form in forms.values()):
            raise TypeError("a form is no name")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("is damaged") from error
    if was != device:
        raise ValueError(f"is of {_in_words(was)}, and this is {_in_words(device)}")
    return forms


def _in_words(device: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in device.items())


def _of_process_0(forms: dict[str, str]) -> dict[str, str]:
    if jax.process_count() == 1:
        return forms
    own = np.frombuffer(json.dumps(forms).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(own))))
    shared = multihost_utils.broadcast_one_to_all(np.resize(own, length))
    return json.loads(np.asarray(shared, np.uint8).tobytes())
