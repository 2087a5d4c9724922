"""Embeddings of images as those of their studies."""

from collections.abc import Callable

import numpy as np

BATCH = 64  # studies that a model pools at once


def mean_pooled(embeds: np.ndarray, study: np.ndarray) -> np.ndarray:
    """The mean of a study's unit embeddings [M, E], normalised again: [S, E].

    Args:
      embeds: of the images.
      study: [M] of each, in 0..S-1.
    """
    sums = _sums(embeds, study)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def mean_features(features: np.ndarray, study: np.ndarray) -> np.ndarray:
    """The mean of a study's features [M, D]: [S, D]."""
    return _sums(features, study) / np.bincount(study)[:, None].astype(np.float32)


def learnt(
    pool: Callable[[np.ndarray, np.ndarray], dict], features: np.ndarray, study: np.ndarray
) -> dict[str, np.ndarray]:
    """Embeddings [S, E] and features [S, D] of studies, by a model that pools them.

    All are filled up to one number of images, a power of two, and one number of studies: a split
    compiles one program.

    Args:
      pool: features [B, N, D] and mask [B, N] to image_embeds and image_features.
      features: [M, D] of the images.
      study: [M] of each, in 0..S-1.
    """
    counts = np.bincount(study)
    order = np.argsort(study, kind="stable")
    begins = np.append(0, np.cumsum(counts))
    place = np.arange(len(study)) - np.repeat(begins[:-1], counts)
    batch, most = (_power_of_two(of) for of in (min(BATCH, len(counts)), int(counts.max())))
    found: dict[str, list[np.ndarray]] = {"image_embeds": [], "image_features": []}
    for start in range(0, len(counts), batch):
        stop = min(start + batch, len(counts))
        own = slice(begins[start], begins[stop])
        padded = np.zeros((batch, most, features.shape[1]), np.float32)
        mask = np.zeros(padded.shape[:2], bool)
        mask[stop - start :, 0] = True  # a study that fills a batch has an image, of zeros
        padded[study[order[own]] - start, place[own]] = features[order[own]]
        mask[study[order[own]] - start, place[own]] = True
        said = pool(padded, mask)
        for name, parts in found.items():
            parts.append(np.asarray(said[name], np.float32)[: stop - start])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _sums(values: np.ndarray, study: np.ndarray) -> np.ndarray:
    sums = np.zeros((study.max() + 1, values.shape[1]), np.float32)
    np.add.at(sums, study, values)
    return sums
