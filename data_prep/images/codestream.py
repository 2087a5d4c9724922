"""What a compressed frame says of its own size, to be believed before it is unpacked.

A few kilobytes of JPEG 2000 can claim a picture of gigabytes, whatever the DICOM header around them
says, and decoders trust the codestream.
"""

import struct

JPEG_2000_START = b"\xff\x4f\xff\x51"
# Start-of-frame markers of baseline, extended, progressive and lossless JPEG, and of JPEG-LS.
JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}
JPEG_BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}


def rle_exceeds(data: bytes, segment_bytes: int) -> bool:
    """Whether a segment of an RLE frame (PS3.5 G.3) unpacks to more than it should; stops there."""
    count, *offsets = struct.unpack_from("<16I", data)
    starts = offsets[: min(count, 15)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        unpacked = 0
        while start < min(end, len(data)):
            control = data[start]
            # 0 to 127: that many bytes and one more follow; 129 to 255: one byte, repeated.
            unpacked += control + 1 if control < 128 else 257 - control if control > 128 else 0
            start += control + 2 if control < 128 else 2 if control > 128 else 1
            # One byte may fill the segment up to an even length.
            if unpacked > segment_bytes + 1:
                return True
    return False


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
