"""What a compressed frame says of its own size, to be believed before it is unpacked.

A few kilobytes of JPEG 2000 can claim a picture of gigabytes, whatever the DICOM header around them
says, and decoders trust the codestream.
"""

import struct

JPEG_2000_START = b"\xff\x4f\xff\x51"
# Start-of-frame markers of baseline, extended, progressive and lossless JPEG, and of JPEG-LS.
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}
JPEG_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}


def jpeg_2000_shape(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG 2000 codestream (ISO 15444-1 A.5.1), None if it has no start."""
    start = data.find(JPEG_2000_START, 0, 4096)
    if start < 0 or len(data) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    return bottom - top, right - left


def jpeg_shape(data: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG or JPEG-LS codestream (ITU T.81 B.2.2), None if it has none."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in JPEG_FRAMES:
            return struct.unpack_from(">2H", data, position + 5)
        length = 0 if marker in JPEG_BARE_MARKERS else data[position + 2] << 8 | data[position + 3]
        # 0xFF may also fill the space before a marker.
        position += 1 if marker == 0xFF else 2 + length
    return None
