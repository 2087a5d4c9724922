"""MetaImage volumes: .mha, or .mhd with its data beside it.

The format is a few lines of text and a block of numbers, so a page of code reads it; the library
that also would is a 50 MB download with hundreds of formats that nobody asked for here.
"""

import math
import pathlib
import zlib

import numpy as np

from data_prep.images import dicom
from data_prep.images.dicom import Rejected
from data_prep.images.voxel_grid import VoxelGrid
from data_prep.records.drops import Reason

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


def read(path: pathlib.Path) -> VoxelGrid:
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
    if len(shape) != 3 or len(spacing_mm) != 3:
        raise Rejected(Reason.UNREADABLE_IMAGE, "no volume of three dimensions")
    name = fields["ElementDataFile"]
    if channels != 1 or "BinaryData" not in true or pathlib.PurePath(name).name != name:
        raise Rejected(Reason.UNSUPPORTED_PIXELS, "not one grey volume in one binary file")
    data_file = path if name == "LOCAL" else path.with_name(name)
    start_byte = position if name == "LOCAL" else 0

    def values_across(axis: int, index: int) -> np.ndarray:
        voxels = _voxels(data_file, start_byte, shape, dtype, "CompressedData" in true)
        return voxels.take(index, axis)

    return VoxelGrid(shape, spacing_mm, directions, dtype, data_file, values_across)


def _voxels(
    data_file: pathlib.Path,
    start_byte: int,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    compressed: bool,
) -> np.ndarray:
    bytes_expected = math.prod(shape) * dtype.itemsize
    try:
        with data_file.open("rb") as file:
            file.seek(start_byte)
            data = file.read(dicom.MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise Rejected(Reason.UNREADABLE_IMAGE, type(error).__name__) from None
    if compressed:
        try:
            data = zlib.decompressobj().decompress(data, bytes_expected)
        except zlib.error:
            raise Rejected(Reason.UNREADABLE_IMAGE, "damaged compression") from None
    if len(data) < bytes_expected:
        raise Rejected(Reason.UNREADABLE_IMAGE, "fewer voxels than stated")
    return np.frombuffer(data[:bytes_expected], dtype).reshape(shape, order="F")
