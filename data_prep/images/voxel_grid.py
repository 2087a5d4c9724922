"""A block of voxels, whatever file it is from, and its slices as radiologists look at them."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np

from data_prep.images import dicom
from data_prep.images.dicom import Rejected
from data_prep.records.drops import Reason

# The patient's axes (x to the left, y to the back, z to the head) of a view: the one it is cut
# across, and those that its rows and columns run along, with their directions.
ACROSS = {"sagittal": 0, "axial": 2}
ALONG = {"sagittal": ((2, -1), (1, 1)), "axial": ((1, 1), (0, 1))}


@dataclasses.dataclass(frozen=True)
class VoxelGrid:
    """What the header of a volume says. Axes are in the order of the file, the fastest first.

    `directions` [3, 3] holds the unit direction of each axis in patient coordinates (x to the left,
    y to the back, z to the head), one a row. `read(axis, index)` gives the values across an axis,
    [A, B] over the two others in the order of the file. `data_file` holds them.

    Raises:
      Rejected: it is no volume of three dimensions, or is too large.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    directions: np.ndarray
    dtype: np.dtype
    data_file: pathlib.Path
    read: Callable[[int, int], np.ndarray]

    def __post_init__(self):
        plausible = len(self.shape) == len(self.spacing_mm) == 3 and min(self.shape) > 0
        if not plausible or not np.isfinite([*self.spacing_mm, *self.directions.flat]).all():
            raise Rejected(Reason.UNREADABLE_IMAGE, "no volume of three dimensions")
        if not all(0.05 < mm < 20 for mm in self.spacing_mm):
            raise Rejected(Reason.NO_GEOMETRY, "voxel spacing out of range")
        if math.prod(self.shape) * self.dtype.itemsize > dicom.MAX_FILE_BYTES:
            raise Rejected(Reason.TOO_LARGE)

    @property
    def axes(self) -> tuple[int, int, int]:
        """The axes nearest to the patient's x, y and z."""
        along = np.abs(self.directions)
        x = int(np.argmax(along[:, 0]))
        y = max({0, 1, 2} - {x}, key=lambda axis: along[axis, 1])
        return x, y, 3 - x - y

    def slices(self, view: str) -> int:
        """How many slices of a view, sagittal or axial, there are."""
        return self.shape[self.axes[ACROSS[view]]]

    def slice(self, view: str, index: int) -> tuple[np.ndarray, tuple[float, float]]:
        """One slice, upright as `geometry.UPRIGHT` has it.

        Args:
          view: sagittal or axial.
          index: of the slice along the axis that is nearest to the view's normal, in the order of
            the file.

        Returns:
          (float32 [H, W], pixel spacing in mm as (row, column)).

        Raises:
          Rejected: there is no such slice, or its values are no numbers.
        """
        if not 0 <= index < self.slices(view):
            raise Rejected(Reason.UNREADABLE_IMAGE, "no such slice")
        axes = self.axes
        across = axes[ACROSS[view]]
        (row, row_sign), (column, column_sign) = ALONG[view]
        image = self.read(across, index).astype(np.float32)
        if not np.isfinite(image).all():
            raise Rejected(Reason.UNSUPPORTED_PIXELS)
        if axes[row] > axes[column]:
            image = image.T
        if self.directions[axes[row], row] * row_sign < 0:
            image = image[::-1]
        if self.directions[axes[column], column] * column_sign < 0:
            image = image[:, ::-1]
        spacing_mm = (self.spacing_mm[axes[row]], self.spacing_mm[axes[column]])
        return np.ascontiguousarray(image), spacing_mm
