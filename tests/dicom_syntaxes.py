"""Pixels written as DICOM in every transfer syntax that data_prep reads."""

import io
import pathlib

import numpy as np
import PIL.Image
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from tests.data_prep_cohort import ORIENTATIONS, slice_dataset

LOSSLESS = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)
NEAR = 2


def set_pixels(dataset: FileDataset, pixels: np.ndarray, syntax: UID) -> None:
    """Replaces the pixels [H, W] or [N, H, W], 8 or 16 bits, signed or not, of a data set."""
    frames = pixels[None] if pixels.ndim == 2 else pixels
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = min(int(dataset.get("BitsStored", 16)), dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(frames)
    dataset.PixelData = pixels.tobytes()
    if syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == JPEGLSNearLossless:
        dataset.compress(syntax, jls_error=NEAR, generate_instance_uid=False)
    elif syntax.is_encapsulated:
        encode = {
            JPEG2000Lossless: _jpeg_2000,
            JPEG2000: _jpeg_2000_lossy,
            JPEGBaseline8Bit: _jpeg,
            JPEGLosslessSV1: _lossless_jpeg,
        }[syntax]
        dataset.PixelData = encapsulate([encode(frame, dataset.BitsStored) for frame in frames])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
        dataset["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"


def save(dataset: FileDataset, path: pathlib.Path) -> None:
    """Writes a file whose pixels are in the byte order of its syntax."""
    # A copy has no memory of the byte order it was made in.
    copy = Dataset()
    copy.update(dataset)
    copy.file_meta = dataset.file_meta
    dcmwrite(path, copy, enforce_file_format=True)


def _jpeg_2000(frame: np.ndarray, bits: int) -> bytes:
    return encode_array(np.ascontiguousarray(frame), bits, 2, use_mct=False)


def _jpeg_2000_lossy(frame: np.ndarray, bits: int) -> bytes:
    return encode_array(
        np.ascontiguousarray(frame), bits, 2, use_mct=False, signal_noise_ratios=[60]
    )


def _jpeg(frame: np.ndarray, bits: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(frame).save(file, "JPEG", quality=95)
    return file.getvalue()


def _lossless_jpeg(frame: np.ndarray, bits: int) -> bytes:
    return lossless_jpeg(frame, bits)


def lossless_jpeg(
    frame: np.ndarray, bits: int, *, predictor: int = 1, restart_rows: int = 0, shift: int = 0
) -> bytes:
    """JPEG process 14 (ITU T.81 annex H), every difference's size in 5 bits."""
    rows, columns = frame.shape
    codes = bytes([0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    header = b"\xff\xd8" + b"\xff\xc4" + (2 + 1 + len(codes)).to_bytes(2) + b"\0" + codes
    header += b"\xff\xdd\0\x04" + (restart_rows * columns).to_bytes(2)
    header += b"\xff\xc3\0\x0b" + bytes([bits]) + rows.to_bytes(2) + columns.to_bytes(2)
    header += bytes([1, 1, 0x11, 0])
    header += b"\xff\xda\0\x08\x01\x01\0" + bytes([predictor, 0, shift])
    values = frame.astype(np.int64) >> shift
    height = restart_rows or rows
    parts = [
        _entropy_coded(values[first : first + height], predictor, 1 << bits - shift - 1)
        for first in range(0, rows, height)
    ]
    data = parts[0]
    for number, part in enumerate(parts[1:]):
        data += bytes([0xFF, 0xD0 + number % 8]) + part
    return header + data + b"\xff\xd9"


def _entropy_coded(values: np.ndarray, predictor: int, start: int) -> bytes:
    text = []
    for r, c in np.ndindex(values.shape):
        left, above = values[r, c - 1], values[r - 1, c]
        corner = values[r - 1, c - 1]
        if r == 0 or c == 0:
            predicted = start if r == c == 0 else left if r == 0 else above
        else:
            predicted = {
                1: left,
                2: above,
                3: corner,
                4: left + above - corner,
                5: left + (above - corner >> 1),
                6: above + (left - corner >> 1),
                7: left + above >> 1,
            }[predictor]
        # Modulo 2**16, from -32767 to 32768.
        difference = (int(values[r, c] - predicted) + 2**15 - 1) % 2**16 - 2**15 + 1
        size = 16 if difference == 2**15 else abs(difference).bit_length()
        text.append(f"{size:05b}")
        if 0 < size < 16:
            extra = difference if difference > 0 else difference + (1 << size) - 1
            text.append(f"{extra:0{size}b}")
    bits_text = "".join(text)
    bits_text += "1" * (-len(bits_text) % 8)
    data = int(bits_text, 2).to_bytes(len(bits_text) // 8)
    return data.replace(b"\xff", b"\xff\0")


def saved(folder: pathlib.Path, array: np.ndarray, syntax: UID, *, bits=None, **fields):
    """The path of an axial slice, or slices, of these pixels; `fields` are of its header."""
    dataset = slice_dataset(
        [0, 0, 0], np.zeros((2, 2), np.uint16), orientation=ORIENTATIONS["axial"]
    )
    dataset.BitsStored = bits or 8 * array.itemsize
    for name, value in fields.items():
        setattr(dataset, name, value)
    set_pixels(dataset, array, syntax)
    save(dataset, folder / "slice.dcm")
    return folder / "slice.dcm"
