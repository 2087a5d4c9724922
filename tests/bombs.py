"""Small files that would unpack to gigabytes, or claim to; and a process that dares to open them.

``python -m tests.bombs`` reads lines of JSON, ``[kind, path]``, and answers each with what became
of the file, the seconds that took, and the peak of the memory while it did.
"""

import io
import json
import pathlib
import struct
import sys
import time
import zipfile
import zlib

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.data_prep_cohort import ORIENTATIONS, slice_dataset

GIGABYTE = 2**30


def _image(syntax: uid.UID = uid.ExplicitVRLittleEndian, **fields) -> pydicom.FileDataset:
    made = slice_dataset([0, 0, 0], np.zeros((8, 8), np.uint16), orientation=ORIENTATIONS["axial"])
    made.file_meta.TransferSyntaxUID = syntax
    for field, value in fields.items():
        setattr(made, field, value)
    made["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    made["PixelData"].is_undefined_length = syntax.is_encapsulated
    return made


def _saved(path: pathlib.Path, made: pydicom.FileDataset) -> None:
    made.save_as(path, enforce_file_format=True)


def _deflated(path: pathlib.Path, unpacked_bytes: int) -> None:
    """A valid deflated file whose private element is zeros; packed piece by piece."""
    stream = io.BytesIO()
    made = _image(uid.DeflatedExplicitVRLittleEndian)
    _saved(stream, made)
    whole = stream.getvalue()
    meta = 144 + struct.unpack_from("<I", whole, 140)[0]
    start = struct.pack("<HH2sHI", 0x0009, 0x1010, b"OB", 0, unpacked_bytes)
    path.write_bytes(
        whole[:meta]
        + _packed(start)
        + _packed(bytes(2**20)) * (unpacked_bytes // 2**20)
        + whole[meta:]
    )


def _packed(data: bytes) -> bytes:
    """A piece of a deflated stream, which can stand anywhere in it and any number of times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _rle(path: pathlib.Path, side: int) -> None:
    """Runs of 128 zeros, as many as the stated size allows to be stored in the worst case."""
    segment = b"\x81\x00" * (side * side // 2)
    header = struct.pack("<16I", 2, 64, 64 + len(segment), *([0] * 13))
    data = encapsulate([header + segment * 2])
    _saved(path, _image(uid.RLELossless, Rows=side, Columns=side, PixelData=data))


def _jpeg_2000(path: pathlib.Path, side: int, stated: int, tile: int) -> None:
    """The main header of a codestream of side x side, and no more."""
    size = struct.pack(">HHIIIIIIIIH", 41, 0, side, side, 0, 0, tile, tile, 0, 0, 1)
    code = b"\xff\x4f\xff\x51" + size + b"\x0b\x01\x01"
    code += b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01"
    code += b"\xff\x5c\x00\x13\x40" + bytes(16)
    code += b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01\xff\x93" + bytes(64) + b"\xff\xd9"
    data = encapsulate([code])
    _saved(path, _image(uid.JPEG2000Lossless, Rows=stated, Columns=stated, PixelData=data))


def _jpeg_ls(path: pathlib.Path, side: int, stated: int) -> None:
    code = b"\xff\xd8\xff\xf7" + struct.pack(">HBHHB", 11, 16, side, side, 1) + b"\x01\x11\x00"
    code += b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" + bytes(64) + b"\xff\xd9"
    data = encapsulate([code])
    _saved(path, _image(uid.JPEGLSLossless, Rows=stated, Columns=stated, PixelData=data))


def _nested(path: pathlib.Path, depth: int) -> None:
    """Sequences of undefined length in each other, around nothing."""
    stream = io.BytesIO()
    _saved(stream, _image())
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    opening += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path.write_bytes(stream.getvalue()[:-140] + opening * depth)


def workbook(path: pathlib.Path, *, sheet: bytes = b"", shared: bytes = b"", repeat=1) -> None:
    """A workbook of one sheet; its sheet and its shared strings are `repeat` times as long."""
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml."
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006/"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}content-types">'
        '<Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}sheet.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
        '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}relationships">'
        f'<Relationship Id="r1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="r2" Type="{relations}/sharedStrings" Target="sharedStrings.xml"/>'
        "</Relationships>",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        for name, tag, content in (
            ("xl/worksheets/sheet1.xml", "worksheet", sheet),
            ("xl/sharedStrings.xml", "sst", shared),
        ):
            start = b"" if content.startswith(b"<?xml") else f'<{tag} xmlns="{main}">'.encode()
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(start)
                for _ in range(repeat):
                    file.write(content)
                file.write(f"</{tag}>".encode())


def _lying_workbook(path: pathlib.Path) -> None:
    """A workbook bomb whose directory says that every part is small."""
    workbook(path, shared=b"<si><t>" + b" " * 2**20 + b"</t></si>", repeat=64)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        big = archive.getinfo("xl/sharedStrings.xml").file_size
    for place in _all_places(content, struct.pack("<I", big)):
        content[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)


def _all_places(content: bytes, part: bytes) -> list[int]:
    places, start = [], 0
    while (start := content.find(part, start)) >= 0:
        places.append(start)
        start += 1
    return places


def _entities(path: pathlib.Path) -> None:
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    shared = f'<?xml version="1.0"?><!DOCTYPE sst [<!ENTITY e0 "lol">{lines}]><sst><si><t>&e11;</t>'
    sheet = b'<sheetData><row r="1"><c r="A1" t="s"><v>0</v></c></row></sheetData>'
    workbook(path, sheet=sheet, shared=f"{shared}</si>".encode())


def _png(path: pathlib.Path, side: int, *chunks: tuple[bytes, bytes]) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    body = b"".join(chunk(*each) for each in chunks)
    rows = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + rows + chunk(b"IEND", b""))


def _packed_zeros(length: int) -> bytes:
    return b"\x78\xda" + _packed(bytes(2**20)) * (length // 2**20) + zlib.compress(b"")[2:]


def _sparse_csv(path: pathlib.Path, length: int) -> None:
    with path.open("wb") as file:
        file.write(b"Patient ID,Report\n1,")
        file.truncate(length)


def _long_cells(path: pathlib.Path, length: int) -> None:
    path.write_bytes(b"Patient ID,Report\n1," + b"a" * length + b"\n")


def _volume(path: pathlib.Path) -> None:
    fields = {
        "NDims": 3, "DimSize": "512 512 300", "ElementSpacing": "1 1 1", "BinaryData": "True",
        "ElementType": "MET_UCHAR", "CompressedData": "True", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    header = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(header.encode() + _packed_zeros(2**20))


# name: (file name, what makes it, what refuses it)
BOMBS = {
    "deflated to 1 GiB": ("a.dcm", lambda p: _deflated(p, GIGABYTE), "too_large"),
    "deflated to 200 MiB": ("a.dcm", lambda p: _deflated(p, 200 * 2**20), "too_large"),
    "RLE": ("a.dcm", lambda p: _rle(p, 2048), "unreadable_dicom"),
    "JPEG 2000 of 60000 x 60000": (
        "a.dcm",
        lambda p: _jpeg_2000(p, 60_000, 512, 60_000),
        "unreadable_dicom",
    ),
    "JPEG 2000 of tiny tiles": (
        "a.dcm",
        lambda p: _jpeg_2000(p, 2048, 2048, 1),
        "unreadable_dicom",
    ),
    "JPEG-LS of 65535 x 65535": ("a.dcm", lambda p: _jpeg_ls(p, 65_535, 512), "unreadable_dicom"),
    "a billion frames": (
        "a.dcm",
        lambda p: _saved(p, _image(NumberOfFrames="1000000000")),
        "too_large",
    ),
    "65535 rows and columns": (
        "a.dcm",
        lambda p: _saved(p, _image(Rows=65_535, Columns=65_535)),
        "too_large",
    ),
    "frames that are not there": (
        "a.dcm",
        lambda p: _saved(p, _image(Rows=2048, Columns=2048, NumberOfFrames="4096")),
        "unreadable_dicom",
    ),
    "nested sequences": ("a.dcm", lambda p: _nested(p, 20_000), "unreadable_dicom"),
    "volume": ("a.mha", _volume, "unreadable_image"),
    "PNG of 60000 x 60000": ("a.png", lambda p: _png(p, 60_000), "too_large"),
    "PNG with text": (
        "a.png",
        lambda p: _png(p, 8, (b"zTXt", b"Comment\0\0" + _packed_zeros(GIGABYTE // 2))),
        "unreadable_image",
    ),
    "PNG with a colour profile": (
        "a.png",
        lambda p: _png(p, 8, (b"iCCP", b"profile\0\0" + _packed_zeros(GIGABYTE // 2))),
        "unreadable_image",
    ),
    "workbook": (
        "a.xlsx",
        lambda p: workbook(p, sheet=b"<sheetData>" + b"<c/>" * 2**18, repeat=64),
        "unpacks to",
    ),
    "shared strings": (
        "a.xlsx",
        lambda p: workbook(p, shared=b"<si><t>" + b" " * 2**20 + b"</t></si>", repeat=64),
        "unpacks to",
    ),
    "workbook that lies about its size": ("a.xlsx", _lying_workbook, "not a readable .xlsx"),
    "XML entities": ("a.xlsx", _entities, "not a readable .xlsx"),
    "zip called xlsx": (
        "a.xlsx",
        lambda p: zipfile.ZipFile(p, "w").writestr("a.txt", "a"),
        "not a readable .xlsx",
    ),
    "a line of 1 GiB": ("a.csv", lambda p: _sparse_csv(p, GIGABYTE), "has a line of more"),
    "a cell of 50 MB": (
        "a.csv",
        lambda p: _long_cells(p, 50_000_000),
        "has a line of more",
    ),
}


def _open(kind: str, path: pathlib.Path) -> str:
    from data_prep.images import pixels
    from data_prep.images.dicom import Rejected
    from data_prep.images.headers import read_headers
    from data_prep.tables import table

    try:
        if path.suffix in (".xlsx", ".csv"):
            return f"read {len(table.read_table(path, option='--reports').rows)} rows"
        if path.suffix == ".dcm" and kind == "header":
            return f"read {len(read_headers(path))} headers"
        return f"read {pixels.render(path, pixels.Rendering(8)).shape}"
    except Rejected as rejected:
        return f"{rejected.reason} {rejected.detail}"
    except ValueError as error:
        return str(error)


def _memory(field: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Answers until the standard input ends."""
    for line in sys.stdin:
        kind, path = json.loads(line)
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        started = time.monotonic()
        said = _open(kind, pathlib.Path(path))
        took_s = time.monotonic() - started
        print(json.dumps([said, took_s, _memory("VmHWM")]), flush=True)


if __name__ == "__main__":
    main()
