"""Lossless JPEG (ITU T.81 annex H, DICOM's process 14), the usual compression of older archives.

The decoders that Python has for it are under the GPL or large; the format is small. Huffman codes
depend on where the one before ends, which is a loop; all else is done for many pixels at once.
"""

import array
import dataclasses
import itertools

import numpy as np

from data_prep.images.codestream import JPEG_BARE_MARKERS

HUFFMAN_TABLES, RESTART_INTERVAL, START_OF_FRAME, START_OF_SCAN = 0xC4, 0xDD, 0xC3, 0xDA
# Bits looked at together: what is kept of each takes a few megabytes.
CHUNK_BITS = 2**20
PADDING_BYTES = 8


@dataclasses.dataclass(frozen=True)
class _Codes:
    """By the next 16 bits: the length of the code that they begin with, and its category."""

    length: np.ndarray
    category: np.ndarray


def decode(data: bytes) -> np.ndarray:
    """Decodes one frame of one component.

    Returns:
      uint16 [H, W].

    Raises:
      ValueError: the codestream is damaged, or not of this process.
    """
    tables: dict[int, _Codes] = {}
    interval, shape, precision = 0, (0, 0), 0
    position = 2
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1]
        if marker in JPEG_BARE_MARKERS or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        body = data[position + 4 : position + 2 + length]
        position += 2 + length
        if marker == HUFFMAN_TABLES:
            tables |= _tables(body)
        elif marker == RESTART_INTERVAL:
            interval = int.from_bytes(body)
        elif marker == START_OF_FRAME:
            precision, shape = body[0], (int.from_bytes(body[1:3]), int.from_bytes(body[3:5]))
            if body[5] != 1:
                raise ValueError("more than one component")
        elif marker == START_OF_SCAN:
            predictor, shift = body[3], body[5] & 15
            codes = tables.get(body[2] >> 4)
            if codes is None or not 1 <= predictor <= 7 or 0 in shape or precision <= shift:
                raise ValueError("no lossless scan")
            parts = _segments(data[position:], interval, shape, codes)
            start = 1 << precision - shift - 1
            pixels = np.concatenate([_predicted(part, predictor, start) for part in parts])
            return (pixels << shift).astype(np.uint16)
    raise ValueError("no scan")


def _tables(body: bytes) -> dict[int, _Codes]:
    """The tables of a DHT segment (annex C) by number."""
    found = {}
    while body:
        number, counts = body[0] & 15, body[1:17]
        categories = body[17 : 17 + sum(counts)]
        body = body[17 + sum(counts) :]
        length, category = np.zeros(2**16, np.uint8), np.zeros(2**16, np.uint8)
        code, used = 0, 0
        for bits, count in enumerate(counts, start=1):
            for value in categories[used : used + count]:
                span = slice(code << 16 - bits, (code + 1) << 16 - bits)
                length[span], category[span] = bits, value
                code += 1
            code, used = code << 1, used + count
        if category.max() > 16:
            raise ValueError("a difference of more than 16 bits")
        found[number] = _Codes(length, category)
    return found


def _segments(
    data: bytes, interval: int, shape: tuple[int, int], codes: _Codes
) -> list[np.ndarray]:
    """The differences [h, W] of the rows between restarts; int64."""
    rows, columns = shape
    if interval % columns:
        raise ValueError("a restart within a row")
    height = interval // columns or rows
    parts = []
    for first in range(0, rows, height):
        end = _marker(data)
        count = min(height, rows - first) * columns
        coded = data[:end].replace(b"\xff\x00", b"\xff")
        parts.append(_differences(coded, count, codes).reshape(-1, columns))
        data = data[end + 2 :]
    return parts


def _marker(data: bytes) -> int:
    """The place of the next marker: a 0xFF of the coded bits is followed by a zero."""
    place = data.find(b"\xff")
    while 0 <= place < len(data) - 1 and data[place + 1] == 0:
        place = data.find(b"\xff", place + 2)
    return place if place >= 0 else len(data)


def _differences(coded: bytes, count: int, codes: _Codes) -> np.ndarray:
    """Decodes `count` differences (H.1.2.2), int64."""
    padded = np.frombuffer(coded + bytes(PADDING_BYTES), np.uint8).astype(np.uint64)
    # The 40 bits from each byte on hold the longest code, its difference and what is left over.
    words = np.zeros(len(coded), np.uint64)
    for i in range(5):
        words |= padded[i : len(coded) + i] << np.uint64(32 - 8 * i)
    places = _places(words, count, codes)
    word, offset = words[places >> 3], (places & 7).astype(np.uint64)
    begins = (word >> np.uint64(24) - offset) & np.uint64(0xFFFF)
    category = codes.category[begins].astype(np.int64)
    bits = np.where(category == 16, 0, category)
    right = 40 - (places & 7) - codes.length[begins] - bits
    extra = (word >> right.astype(np.uint64)).astype(np.int64) & (1 << bits) - 1
    negative = (bits > 0) & (extra < 1 << np.maximum(bits, 1) - 1)
    return np.where(category == 16, 2**15, extra - negative * ((1 << bits) - 1))


def _places(words: np.ndarray, count: int, codes: _Codes) -> np.ndarray:
    """The bit that each of `count` codes begins at, int64."""
    step_of = codes.length + np.where(codes.category == 16, 0, codes.category)
    step_of = np.where(codes.length == 0, 0, step_of)
    places = array.array("q")
    place = 0
    for first in range(0, 8 * len(words), CHUNK_BITS):
        word = words[first // 8 : (first + CHUNK_BITS) // 8, None]
        begins = (word >> np.arange(24, 16, -1, dtype=np.uint64)) & np.uint64(0xFFFF)
        steps = step_of[begins].ravel().tolist()
        while place - first < len(steps) and len(places) < count:
            places.append(place)
            step = steps[place - first]
            if step == 0:
                raise ValueError("a code that is in no table")
            place += step
    if len(places) < count or place > 8 * len(words):
        raise ValueError("fewer pixels than stated")
    return np.frombuffer(places, np.int64)


def _predicted(differences: np.ndarray, predictor: int, start: int) -> np.ndarray:
    """Undoes the prediction of differences [h, W] (table H.1), modulo 2**16; int64 [h, W]."""
    pixels = differences.copy()
    pixels[0, 0] += start
    pixels[0] = pixels[0].cumsum() & 0xFFFF
    # The first of every other row is predicted from above, whatever the predictor.
    pixels[:, 0] = pixels[:, 0].cumsum() & 0xFFFF
    for above, row in itertools.pairwise(pixels):
        if predictor in (2, 3):
            row[1:] += above[1:] if predictor == 2 else above[:-1]
        elif predictor in (1, 4, 5):
            slope = above[1:] - above[:-1]
            row[1:] += {1: 0, 4: slope, 5: slope >> 1}[predictor]
            row[:] = row.cumsum()
        else:
            _predict_one_by_one(above.tolist(), row, predictor)
        row &= 0xFFFF
    return pixels


def _predict_one_by_one(above: list[int], row: np.ndarray, predictor: int) -> None:
    """Predictors 6 and 7 halve what depends on the pixel before."""
    values = row.tolist()
    for i in range(1, len(values)):
        if predictor == 6:
            values[i] += above[i] + (values[i - 1] - above[i - 1] >> 1)
        else:
            values[i] += values[i - 1] + above[i] >> 1
        values[i] &= 0xFFFF
    row[:] = values
