"""Volumes of any format by their name: MetaImage and NIfTI."""

import pathlib

import numpy as np

from data_prep.images import meta_image, nifti
from data_prep.images.voxel_grid import VoxelGrid

SUFFIXES = (".mha", ".mhd", *nifti.SUFFIXES)


def is_volume(path: pathlib.Path) -> bool:
    """Whether a file is called like a volume."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume(path: pathlib.Path) -> VoxelGrid:
    """Reads the header of a volume.

    Raises:
      Rejected: it is no volume of grey values in one file, or is too large.
    """
    is_nifti = path.name.lower().endswith(nifti.SUFFIXES)
    return nifti.read(path) if is_nifti else meta_image.read(path)


def read_slice(
    path: pathlib.Path, index: int, view: str = "sagittal"
) -> tuple[np.ndarray, tuple[float, float]]:
    """One slice, as `VoxelGrid.slice` gives it: (float32 [H, W], spacing of (row, column) in mm).

    Raises:
      Rejected: the file cannot be used.
    """
    return read_volume(path).slice(view, index)
