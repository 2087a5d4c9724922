"""Perceptual fingerprints: pictures that look the same, whatever was done to file or brightness.

The signs of the 32 x 32 lowest frequencies of the picture's centre about their median: the "pHash"
of Zauner (2010), with sixteen times its bits. Lumbar slices of different people look much alike:
with the usual 64 bits, some of the 412 published patients are equal to another.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image

SIDE = 32
BYTES = SIDE * SIDE // 8
THUMBNAIL_PX = 96
# The margin of a slice is alike in everyone: fat, and the black around it.
CENTRE = 0.6
# Of the 1,236 published axial slices, the nearest two of different patients differ in 356 bits; the
# same slice brightened, compressed again or one pixel further differs in 168 at most. Sagittal
# views are simpler: drawn ones of different patients differ in 132 or more; no real ones were at
# hand.
MAX_DIFFERENT_BITS = {"axial": 200, "sagittal": 120, "coronal": 120}
_BLOCK = 1024


def _cosines() -> np.ndarray:
    """The first rows of the discrete cosine transform (type II), [SIDE, THUMBNAIL_PX]."""
    frequency, place = np.ogrid[:SIDE, :THUMBNAIL_PX]
    return np.cos(np.pi * frequency * (2 * place + 1) / (2 * THUMBNAIL_PX)).astype(np.float32)


_COSINES = _cosines()


def fingerprint(image: np.ndarray) -> bytes | None:
    """The fingerprint (128 bytes) of a picture, uint8 [S, S, 1]; None if it shows next to nothing:
    if half of its centre is one grey."""
    size = image.shape[0]
    margin = size * (1 - CENTRE) / 2
    inside = slice(round(margin), size - round(margin))
    greys = np.bincount(image[inside, inside, 0].ravel())
    if 2 * greys.max() >= greys.sum():
        return None
    thumbnail = PIL.Image.fromarray(image[..., 0]).resize(
        (THUMBNAIL_PX, THUMBNAIL_PX),
        PIL.Image.Resampling.BOX,
        box=(margin, margin, size - margin, size - margin),
    )
    waves = (_COSINES @ np.asarray(thumbnail, np.float32) @ _COSINES.T).ravel()
    waves[0] = 0  # the mean brightness tells nothing
    return np.packbits(waves > np.median(waves)).tobytes()


def near_duplicates(
    fingerprints: np.ndarray, owners: Sequence[str], planes: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """Yields the pairs of rows i < j of one plane and different owners whose pictures look alike.

    Every pair is compared, in blocks: 30 s for 30,000 pictures on one core, more by the square.

    Args:
      fingerprints: uint8 [M, 128].
      owners: M names; pictures of one owner may look alike.
      planes: M keys of `MAX_DIFFERENT_BITS`.
    """
    words = np.ascontiguousarray(fingerprints).view(np.uint64)
    owner_numbers = np.unique(np.asarray(owners), return_inverse=True)[1]
    for plane, limit in MAX_DIFFERENT_BITS.items():
        members = np.flatnonzero(np.asarray(planes) == plane)
        for i, j in _pairs_within(words[members], limit):
            i, j = members[i], members[j]
            if owner_numbers[i] != owner_numbers[j]:
                yield int(i), int(j)


def _pairs_within(words: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """The pairs i < j of rows of uint64 [M, 16] that differ in at most `limit` bits."""
    for i in range(0, len(words), _BLOCK):
        for j in range(i, len(words), _BLOCK):
            different = np.zeros(
                (len(words[i : i + _BLOCK]), len(words[j : j + _BLOCK])), np.uint16
            )
            for word in range(words.shape[1]):
                different += np.bitwise_count(
                    words[i : i + _BLOCK, None, word] ^ words[None, j : j + _BLOCK, word]
                )
                # Strangers are told apart by less than all of the bits.
                if word % 4 == 3 and different.min() > limit:
                    break
            for row, column in zip(*np.nonzero(different <= limit), strict=True):
                if i + row < j + column:
                    yield i + row, j + column
