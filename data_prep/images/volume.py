"""MetaImage volumes (.mha, or .mhd with its data beside it) and their sagittal slices.

The format is a few lines of text and a block of numbers, so a page of code reads it; the library
that also would is a 50 MB download with hundreds of formats that nobody asked for here.
"""

import dataclasses
import math
import pathlib
import zlib

import numpy as np

from data_prep.images import dicom
from data_prep.images.dicom import Rejected
from data_prep.records.drops import Reason

SUFFIXES = (".mha", ".mhd")
MAX_HEADER_BYTES = 2**16
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


@dataclasses.dataclass(frozen=True)
class Volume:
    """What the header says. Axes are in the order of the file, the fastest first.

    `directions` [3, 3] holds the unit direction of each axis in patient coordinates (x to the left,
    y to the back, z to the head), one a row.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    directions: np.ndarray
    dtype: np.dtype
    compressed: bool
    data_file: pathlib.Path
    data_start: int

    @property
    def axes(self) -> tuple[int, int, int]:
        """The axes nearest to the patient's x, y and z."""
        along = np.abs(self.directions)
        x = int(np.argmax(along[:, 0]))
        y = max({0, 1, 2} - {x}, key=lambda axis: along[axis, 1])
        return x, y, 3 - x - y

    @property
    def sagittal_slices(self) -> int:
        return self.shape[self.axes[0]]


def read_volume(path: pathlib.Path) -> Volume:
    """Reads the header of a .mha file.

    Raises:
      Rejected: it is no volume of grey values in one file, or is too large.
    """
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    fields = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", position)
        name, separator, value = start[position:end].decode("latin-1").partition("=")
        if end < 0 or not separator:
            raise Rejected(Reason.UNREADABLE_IMAGE, "no MetaImage header")
        fields[name.strip()] = value.strip()
        position = end + 1
    true = {name for name, value in fields.items() if value.lower() == "true"}
    try:
        shape = tuple(int(size) for size in fields["DimSize"].split())
        spacing_mm = tuple(float(mm) for mm in fields["ElementSpacing"].split())
        matrix = fields.get("TransformMatrix", "1 0 0 0 1 0 0 0 1").split()
        directions = np.array([float(value) for value in matrix]).reshape(3, 3)
        big_endian = {"BinaryDataByteOrderMSB", "ElementByteOrderMSB"} & true
        dtype = np.dtype(TYPES[fields["ElementType"]]).newbyteorder(">" if big_endian else "<")
        channels = int(fields.get("ElementNumberOfChannels", 1))
    except (KeyError, ValueError):
        raise Rejected(Reason.UNREADABLE_IMAGE, "incomplete MetaImage header") from None
    plausible = len(shape) == len(spacing_mm) == 3 and all(size > 0 for size in shape)
    if not plausible or not np.isfinite([*spacing_mm, *directions.flat]).all():
        raise Rejected(Reason.UNREADABLE_IMAGE, "no volume of three dimensions")
    name = fields["ElementDataFile"]
    if channels != 1 or "BinaryData" not in true or pathlib.PurePath(name).name != name:
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "not one grey volume in one binary file")
    if not all(0.05 < mm < 20 for mm in spacing_mm):
        raise Rejected(Reason.NO_GEOMETRY, "voxel spacing out of range")
    if math.prod(shape) * dtype.itemsize > dicom.MAX_FILE_BYTES:
        raise Rejected(Reason.TOO_LARGE)
    return Volume(
        shape=(shape[0], shape[1], shape[2]),
        spacing_mm=(spacing_mm[0], spacing_mm[1], spacing_mm[2]),
        directions=directions,
        dtype=dtype,
        compressed="CompressedData" in true,
        data_file=path if name == "LOCAL" else path.with_name(name),
        data_start=position if name == "LOCAL" else 0,
    )


def read_sagittal(path: pathlib.Path, index: int) -> tuple[np.ndarray, tuple[float, float]]:
    """One sagittal slice, head up and front to the left, as radiologists look at it.

    Args:
      path: a .mha file.
      index: of the slice along the axis nearest to left-right, in the order of the file.

    Returns:
      (float32 [H, W], pixel spacing in mm as (row, column)).

    Raises:
      Rejected: the file cannot be used.
    """
    volume = read_volume(path)
    bytes_expected = math.prod(volume.shape) * volume.dtype.itemsize
    try:
        with volume.data_file.open("rb") as file:
            file.seek(volume.data_start)
            data = file.read(dicom.MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
    if volume.compressed:
        try:
            data = zlib.decompressobj().decompress(data, bytes_expected)
        except zlib.error:
            raise Rejected(Reason.UNREADABLE_IMAGE, "damaged compression") from None
    if len(data) < bytes_expected or index >= volume.sagittal_slices:
        raise Rejected(Reason.UNREADABLE_IMAGE, "fewer voxels than stated")
    voxels = np.frombuffer(data[:bytes_expected], volume.dtype).reshape(volume.shape, order="F")
    x, y, z = volume.axes
    image = voxels.transpose(z, y, x)[:, :, index].astype(np.float32)
    if not np.isfinite(image).all():
        raise Rejected(Reason.UNSUPPORTED_PIXELS)
    if volume.directions[z, 2] > 0:
        image = image[::-1]
    if volume.directions[y, 1] < 0:
        image = image[:, ::-1]
    return np.ascontiguousarray(image), (volume.spacing_mm[z], volume.spacing_mm[y])
