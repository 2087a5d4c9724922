"""Where each picture lies in the patient: image planes in DICOM coordinates.

DICOM patient axes: x grows to the patient's left, y backwards, z to the head; millimetres.
"""

import dataclasses
import math

import numpy as np

from data_prep.phantom.canvas import SPACING_MM

SLICE_THICKNESS_MM = 4.0
SLICE_SPACING_MM = 4.4


@dataclasses.dataclass(frozen=True)
class Plane:
    """One picture: its centre, the directions of growing column and row index, its pixel size."""

    centre_mm: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing_mm: float

    @property
    def normal(self):
        return np.cross(self.row, self.column)

    def position_mm(self, shape):
        """ImagePositionPatient: the centre of the first pixel of a picture of `shape` (H, W)."""
        height, width = shape
        across = self.row * (width - 1) / 2 + self.column * (height - 1) / 2
        return self.centre_mm - across * self.spacing_mm

    def pixel_of(self, point_mm, shape):
        """(row index, column index) of the projection of a point on the plane."""
        offset = np.asarray(point_mm) - self.position_mm(shape)
        return offset @ self.column / self.spacing_mm, offset @ self.row / self.spacing_mm


def slice_offsets_mm(slices_per_disc: int) -> tuple[float, ...]:
    """Heights above the middle of the disc, head first; an odd number has one at 0."""
    middle = (slices_per_disc - 1) / 2
    return tuple((middle - k) * SLICE_SPACING_MM for k in range(slices_per_disc))


def axial_plane(patient, level_index: int, offset_mm: float) -> Plane:
    """The slice `offset_mm` above one disc's middle, tilted like the disc: where the spine curves,
    backwards in the picture is also upwards in the patient."""
    level = patient.levels[level_index]
    tilt = math.radians(level.tilt_deg)
    row = np.array([1.0, 0.0, 0.0])
    column = np.array([0.0, math.cos(tilt), math.sin(tilt)])
    shift_u, shift_v = patient.shift_mm
    centre = np.array(level.centre_mm) - shift_u * row - shift_v * column
    return Plane(centre + offset_mm * np.cross(row, column), row, column, SPACING_MM)


def sagittal_plane(x_mm: float, spacing_mm: float) -> Plane:
    """A sagittal picture centred on the middle of the three discs' column."""
    return Plane(
        np.array([x_mm, 12.0, 0.0]),
        np.array([0.0, 1.0, 0.0]),
        np.array([0.0, 0.0, -1.0]),
        spacing_mm,
    )
