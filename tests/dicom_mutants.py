"""Damaged and lying DICOM files, made from small valid ones in eleven transfer syntaxes."""

import io
import random
import struct

import numpy as np
import PIL.Image
import pydicom
from openjpeg.utils import encode_array
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.data_prep_cohort import ORIENTATIONS, slice_dataset
from tests.dicom_syntaxes import lossless_jpeg

SIDE_PX = 32
SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEGBaseline8Bit,
    uid.JPEGLosslessSV1,
)
LIES = {
    "Rows": (0, 1, 15, 17, 2048, 2049, 65535),
    "Columns": (0, 1, 15, 17, 2048, 2049, 65535),
    "NumberOfFrames": ("0", "-1", "2", "4096", "99999999", ""),
    "BitsAllocated": (0, 1, 8, 12, 16, 32, 64, 65535),
    "BitsStored": (0, 1, 7, 13, 16, 17, 65535),
    "HighBit": (0, 7, 12, 15, 65535),
    "SamplesPerPixel": (0, 2, 3, 4, 65535),
    "PixelRepresentation": (1, 2, 65535),
    "PlanarConfiguration": (1, 65535),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL_422", "", "X"),
    "PixelSpacing": (["0", "0"], ["-1", "1"], ["1"], ["1e300", "1e-300"]),
    "RescaleSlope": ("0", "1e38", "-1e300"),
    "RescaleIntercept": ("1e38",),
    "ImageOrientationPatient": (["0"] * 6, ["1"] * 5, ["1e200"] * 6),
    "ImagePositionPatient": (["1e300"] * 3, ["0"] * 2),
    "SpecificCharacterSet": ("ISO 2022 IR 87", "NO SUCH", ["ISO_IR 6"] * 9),
}
LENGTHS = (0, 1, 2, 0x7F, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def pixels() -> np.ndarray:
    return np.arange(SIDE_PX * SIDE_PX, dtype=np.uint16).reshape(SIDE_PX, SIDE_PX) * 3


def dataset(syntax: uid.UID) -> pydicom.FileDataset:
    """A valid slice."""
    made = slice_dataset([0, 0, 0], pixels(), orientation=ORIENTATIONS["axial"])
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    made.SeriesInstanceUID = made.StudyInstanceUID = "1.2.3"
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    made.EchoTime, made.RepetitionTime = 11, 600
    if syntax in (uid.RLELossless, uid.JPEGLSLossless):
        made.compress(syntax, generate_instance_uid=False)
    elif syntax == uid.JPEGLSNearLossless:
        made.compress(syntax, jls_error=2, generate_instance_uid=False)
    elif syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        made.PixelData = encapsulate([encode_array(pixels(), 12, 2, use_mct=False)])
    elif syntax == uid.JPEGLosslessSV1:
        made.PixelData = encapsulate([lossless_jpeg(pixels(), 12)])
    elif syntax == uid.JPEGBaseline8Bit:
        made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
        stream = io.BytesIO()
        PIL.Image.fromarray((pixels() >> 4).astype(np.uint8)).save(stream, "JPEG")
        made.PixelData = encapsulate([stream.getvalue()])
    made.file_meta.TransferSyntaxUID = syntax
    made["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    made["PixelData"].is_undefined_length = syntax.is_encapsulated
    return made


def saved(made: pydicom.FileDataset) -> bytes:
    stream = io.BytesIO()
    big = made.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    if big:
        made["PixelData"].value = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(stream, made, enforce_file_format=True)
    return stream.getvalue()


class Mutator:
    """Makes mutant after mutant, the same for the same seed."""

    def __init__(self, seed: int):
        self._rng = random.Random(seed)
        self.valid = {syntax: saved(dataset(syntax)) for syntax in SYNTAXES}
        self.classes = {
            "flip": self._flip,
            "flip in the header": lambda data: self._flip(data, end=900),
            "flip in the pixels": lambda data: self._flip(data, start=len(data) * 3 // 4),
            "cut": lambda data: data[: self._rng.randrange(len(data))],
            "length lie": self._length,
            "swap": self._swap,
            "value representation": self._representation,
            "splice": self._splice,
            "syntax lie": self._syntax,
            "fragments": self._fragments,
        }

    def __call__(self) -> tuple[str, uid.UID, bytes]:
        """(class, transfer syntax, content of the file)."""
        rng = self._rng
        syntax = rng.choice(SYNTAXES)
        name = rng.choice([*self.classes, "lie"])
        if name == "lie":
            return name, syntax, self._lie(syntax)
        return name, syntax, self.classes[name](self.valid[syntax])

    def _flip(self, data: bytes, start: int = 128, end: int | None = None) -> bytes:
        changed = bytearray(data)
        for _ in range(self._rng.choice((1, 1, 2, 8, 64))):
            position = self._rng.randrange(start, min(end or len(data), len(data)))
            changed[position] = self._rng.randrange(256)
        return bytes(changed)

    def _place(self, data: bytes) -> int:
        """The offset of a data element, or of something like it."""
        found = [i for i in range(132, len(data) - 12) if data[i + 4 : i + 6].isupper()]
        return self._rng.choice(found) if found else self._rng.randrange(132, len(data) - 12)

    def _length(self, data: bytes) -> bytes:
        place, length = self._place(data), self._rng.choice(LENGTHS)
        field = (
            struct.pack("<I", length)
            if self._rng.random() < 0.5
            else struct.pack("<H", length & 0xFFFF)
        )
        offset = place + self._rng.choice((4, 6, 8))
        return data[:offset] + field + data[offset + len(field) :]

    def _swap(self, data: bytes) -> bytes:
        first, second = sorted((self._place(data), self._place(data)))
        size = self._rng.choice((4, 8, 16))
        changed = bytearray(data)
        changed[first : first + size] = data[second : second + size]
        changed[second : second + size] = data[first : first + size]
        return bytes(changed)

    def _representation(self, data: bytes) -> bytes:
        offset = self._place(data) + 4
        vr = self._rng.choice(
            (b"SQ", b"UN", b"OB", b"US", b"PN", b"DS", b"AT", b"UT", b"FD", b"ZZ")
        )
        return data[:offset] + vr + data[offset + 2 :]

    def _splice(self, data: bytes) -> bytes:
        start, stop = sorted(self._rng.choices(range(132, len(data)), k=2))
        stop = min(stop, start + 200)
        inserted = self._rng.choice((b"", data[start:stop] * 2, self._rng.randbytes(40)))
        return data[:start] + inserted + data[stop:]

    def _syntax(self, data: bytes) -> bytes:
        """Says another syntax of the same length, or one of no meaning."""
        start = data.find(b"\x02\x00\x10\x00UI")
        (length,) = struct.unpack_from("<H", data, start + 6)
        fitting = [s for s in SYNTAXES if len(s) + len(s) % 2 == length]
        said = self._rng.choice([*fitting, "1.2.3"]).encode().ljust(length, b"\0")
        return data[: start + 8] + said + data[start + 8 + length :]

    def _fragments(self, data: bytes) -> bytes:
        """Lengths of items, and delimiters, lie."""
        items = [i for i in range(len(data) - 8) if data[i : i + 4] == b"\xfe\xff\x00\xe0"]
        place = self._rng.choice(items) if items else self._place(data)
        length = struct.pack("<I", self._rng.choice((*LENGTHS, len(data), len(data) - place - 8)))
        return data[: place + 4] + length + data[place + 8 :]

    def _lie(self, syntax: uid.UID) -> bytes:
        made = dataset(syntax)
        for field in self._rng.sample(list(LIES), self._rng.choice((1, 1, 2, 4))):
            setattr(made, field, self._rng.choice(LIES[field]))
        return saved(made)
