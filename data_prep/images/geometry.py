"""Where a slice lies in the patient, as DICOM says it (PS3.3 C.7.6.2.1.1)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

VIEWS = ("sagittal", "coronal", "axial")
# The directions [2, 3] of a growing column and row index as radiologists look at a picture: seen
# from the feet, from the patient's left and from the front.
UPRIGHT = {
    "axial": np.array([[1, 0, 0], [0, 1, 0]]),
    "sagittal": np.array([[0, 1, 0], [0, 0, -1]]),
    "coronal": np.array([[1, 0, 0], [0, 0, -1]]),
}


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A picture in patient coordinates: x to the left, y to the back, z to the head.

    `corner_mm` [3] is the centre of the first pixel, `along_row` and `along_column` [3] are the
    unit directions of a growing column and row index, `spacing_mm` is that of (rows, columns), and
    `shape` is (rows, columns).
    """

    corner_mm: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]

    @property
    def normal(self) -> np.ndarray:
        """The unit normal [3], turned to the left, the back or the head, whichever is nearest."""
        normal = np.cross(self.along_row, self.along_column)
        return normal * (np.sign(normal[np.argmax(np.abs(normal))]) / np.linalg.norm(normal))

    @property
    def view(self) -> str:
        """The anatomical plane that is nearest."""
        return _view(self.along_row, self.along_column)

    @property
    def center_mm(self) -> np.ndarray:
        """The middle of the picture [3]."""
        rows, columns = self.shape
        return self.point_mm((columns - 1) / 2, (rows - 1) / 2)

    @property
    def depth_mm(self) -> float:
        """How far along its normal the picture lies; orders parallel pictures."""
        return float(self.corner_mm @ self.normal)

    def point_mm(self, x_px: float, y_px: float) -> np.ndarray:
        """The place [3] of column `x_px` in row `y_px`."""
        row_mm, column_mm = self.spacing_mm
        return (
            self.corner_mm
            + self.along_row * (column_mm * x_px)
            + self.along_column * (row_mm * y_px)
        )

    def distance_mm(self, point_mm: np.ndarray) -> float:
        """How far a point [3] is from the plane."""
        return abs(float((point_mm - self.corner_mm) @ self.normal))


def plane(
    position: Sequence[float] | None,
    orientation: Sequence[float] | None,
    spacing: Sequence[float] | None,
    shape: tuple[int, int],
) -> Plane | None:
    """The plane of ImagePositionPatient, ImageOrientationPatient and PixelSpacing.

    None when one of them is missing or is no geometry.
    """
    along = directions(orientation)
    if along is None or spacing is None:
        return None
    try:
        corner = np.array(position, np.float64).reshape(3)
        row_mm, column_mm = (float(value) for value in spacing)
    except (TypeError, ValueError):
        return None
    if not np.isfinite(corner).all():
        return None
    if not (0.05 < row_mm < 10 and 0.05 < column_mm < 10):
        return None
    return Plane(corner, along[0], along[1], (row_mm, column_mm), shape)


def directions(orientation: Sequence[float] | None) -> np.ndarray | None:
    """The unit directions [2, 3] of a growing column and row index of ImageOrientationPatient.

    None when it is missing or is no orientation.
    """
    try:
        along_row, along_column = along = np.array(orientation, np.float64).reshape(2, 3)
    except (TypeError, ValueError):
        return None
    # Direction cosines are unit vectors at right angles, so their product has length 1 too.
    lengths = np.linalg.norm([along_row, along_column, np.cross(along_row, along_column)], axis=1)
    return along if (np.abs(lengths - 1) < 0.01).all() else None


@dataclasses.dataclass(frozen=True)
class Turn:
    """A turn by quarters, or a mirroring, of pictures [H, W]: no value is changed."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = image.T if self.transposed else image
        image = image[:: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]
        return np.ascontiguousarray(image)

    def spacing_mm(self, spacing_mm: tuple[float, float]) -> tuple[float, float]:
        """The spacing of (rows, columns) of the turned picture."""
        return spacing_mm[::-1] if self.transposed else spacing_mm


AS_IT_LIES = Turn()


def upright(along: np.ndarray) -> Turn:
    """The turn that brings a picture nearest to `UPRIGHT` of its view.

    Args:
      along: the directions [2, 3] of its growing column and row index.
    """
    towards = along @ UPRIGHT[_view(*along)].T
    transposed = abs(towards[0, 1]) + abs(towards[1, 0]) > abs(towards[0, 0]) + abs(towards[1, 1])
    column, row = towards.diagonal() if not transposed else (towards[1, 0], towards[0, 1])
    return Turn(bool(transposed), rows_reversed=bool(row < 0), columns_reversed=bool(column < 0))


def _view(along_row: np.ndarray, along_column: np.ndarray) -> str:
    return VIEWS[int(np.argmax(np.abs(np.cross(along_row, along_column))))]
