"""NIfTI volumes (.nii, .nii.gz), read by nibabel where that is installed."""

import importlib.util
import logging
import pathlib
import warnings
from typing import Any

import numpy as np

from data_prep.images.dicom import Rejected
from data_prep.images.voxel_grid import VoxelGrid
from data_prep.records.drops import Reason

SUFFIXES = (".nii", ".nii.gz")
INSTALL = "pip install lumbarclip_jax[nifti]"
# NIfTI's coordinates grow to the right, the front and the head; ours to the left and the back.
TO_OURS = np.array([-1.0, -1.0, 1.0])

# It repeats what a header says.
logging.getLogger("nibabel").disabled = True
logging.getLogger("nibabel.global").disabled = True


def is_installed() -> bool:
    """Whether NIfTI can be read here."""
    return importlib.util.find_spec("nibabel") is not None


def read(path: pathlib.Path) -> VoxelGrid:
    """Reads the header of a file.

    Raises:
      Rejected: it is no volume of grey values, does not say how it lies, or is too large; or
        nibabel is not installed.
    """
    if not is_installed():
        raise Rejected(Reason.UNREADABLE_IMAGE, INSTALL)
    import nibabel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Any = nibabel.load(path)
            header, affine = image.header, np.asarray(image.affine, np.float64)[:3, :3]
            # One volume of a series of one.
            shape = tuple(int(size) for size in image.shape)
            dtype = header.get_data_dtype()
            lies = bool(header["sform_code"] or header["qform_code"])
    except Exception as error:  # nibabel raises whatever struct, gzip and numpy do
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
    if len(shape) < 3 or set(shape[3:]) - {1}:
        raise Rejected(Reason.UNREADABLE_IMAGE, "no volume of three dimensions")
    if dtype.kind not in "iuf":
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "not grey")
    spacing_mm = np.linalg.norm(affine, axis=0)
    if not lies or not (np.isfinite(spacing_mm).all() and spacing_mm.all()):
        raise Rejected(Reason.NO_GEOMETRY, "says not how it lies")
    directions = (affine / spacing_mm).T * TO_OURS

    def values_across(axis: int, index: int) -> np.ndarray:
        where = [slice(None)] * 3 + [0] * (len(shape) - 3)
        where[axis] = index
        try:
            return np.asarray(image.dataobj[tuple(where)])
        except Exception as error:
            raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None

    first, second, third = spacing_mm.tolist()
    return VoxelGrid(
        (shape[0], shape[1], shape[2]),
        (first, second, third),
        directions,
        dtype,
        path,
        values_across,
    )
