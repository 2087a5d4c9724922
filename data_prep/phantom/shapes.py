"""Signed distances and smooth random fields: the brushes of the renderer.

Distances are in millimetres, negative inside, and only need to be true near the outline, where the
anti-aliased edge is drawn.
"""

import functools
import math

import numpy as np


def coverage(distance, softness_mm=0.9):
    """Fraction of a pixel inside the shape, a linear ramp `softness_mm` wide around distance 0."""
    return np.clip(0.5 - distance / softness_mm, 0.0, 1.0)


def ellipse(u, v, u0, v0, half_u, half_v, turn_deg=0.0):
    """First-order distance to a turned ellipse, f (f - 1) / |grad f^2| / 2 (Quilez 2008)."""
    du, dv = u - u0, v - v0
    if turn_deg:
        cos, sin = _cos_sin(turn_deg)
        du, dv = cos * du + sin * dv, cos * dv - sin * du
    p, q = du / half_u, dv / half_v
    level = np.sqrt(p * p + q * q)
    slope = np.sqrt((p / half_u) ** 2 + (q / half_v) ** 2)
    return level * (level - 1.0) / np.maximum(slope, 1e-4)


def capsule(u, v, start, end, radius):
    """Exact distance to a segment thickened by `radius` (a number, or one value a pixel)."""
    along_u, along_v = end[0] - start[0], end[1] - start[1]
    du, dv = u - start[0], v - start[1]
    t = (du * along_u + dv * along_v) / (along_u**2 + along_v**2)
    t = np.clip(t, 0.0, 1.0)
    return np.hypot(du - t * along_u, dv - t * along_v) - radius


def left_of(u, v, start, end):
    """Signed distance to the line start→end, positive on the image-left of the direction."""
    along_u, along_v = end[0] - start[0], end[1] - start[1]
    cross = along_u * (v - start[1]) - along_v * (u - start[0])
    return -cross / math.hypot(along_u, along_v)


def smooth_step(x, low, high):
    """Hermite step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x, width):
    """Gaussian exp(-(x / width)^2)."""
    t = x / width
    return np.exp(-t * t)


def ridge(field, width):
    """Thin curved lines: 1 on the zero set of a smooth field, 0 where |field| > `width`."""
    return np.clip(1.0 - np.abs(field) / width, 0.0, 1.0)


def smooth_field(rng, shape, cells):
    """Cubic B-spline field [H, W] f32 of zero mean and about unit variance.

    `cells` is (rows, columns) of knots over the image: the larger, the finer the texture. Plain
    gathers and sums, no BLAS: the bytes must not depend on its threads.
    """
    knots = rng.standard_normal((cells[1] + 3, cells[0] + 3), dtype=np.float32)
    knots = np.ascontiguousarray(_interpolate(knots, shape[1]).T)
    return _interpolate(knots, shape[0])


def _interpolate(knots, size):
    """Splines along axis 0: [cells + 3, C] to [size, C]."""
    index, weights = _spline_weights(size, len(knots) - 3)
    field = weights[0] * knots[index]
    for tap in range(1, 4):
        field += weights[tap] * knots[index + tap]
    return field


@functools.lru_cache(maxsize=64)
def _spline_weights(size, cells):
    """First knot [size] and the four cubic weights [4, size, 1], scaled to unit variance."""
    position = (np.arange(size) + 0.5) / size * cells
    index = np.minimum(position.astype(int), cells - 1)
    t = position - index
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    )
    weights /= np.sqrt((weights**2).sum(axis=0).mean())
    return index, weights[:, :, None].astype(np.float32)


def _cos_sin(degrees):
    radians = math.radians(degrees)
    return math.cos(radians), math.sin(radians)
