"""A two-contrast picture under construction: tissues and the canvas they are painted on."""

import dataclasses

import numpy as np

from data_prep.phantom.shapes import coverage, smooth_field

SIZE_PX = 320
SPACING_MM = 0.6875

# Signal of each tissue, (T1, T2), relative to fat on T1 = 1, of turbo spin echoes at 1.5 T.
FAT = (0.95, 0.82)
MUSCLE = (0.30, 0.17)
MARROW = (0.50, 0.42)
CORTEX = (0.11, 0.07)
FLUID = (0.17, 1.00)
NERVE = (0.30, 0.30)
FLAVUM = (0.15, 0.11)
ANNULUS = (0.22, 0.12)
VESSEL = (0.06, 0.06)
BOWEL = (0.33, 0.36)
SKIN = (0.45, 0.40)
AIR = (0.0, 0.0)


@dataclasses.dataclass
class Canvas:
    """Anatomical coordinates `u`, `v` [H, W] in mm and the picture `image` [2, H, W], T1 first.

    Painting is back to front: what is painted later covers what lies there already.
    """

    u: np.ndarray
    v: np.ndarray
    image: np.ndarray

    def paint(self, alpha, tissue):
        """Covers the fraction `alpha` [H, W] of each pixel with `tissue`: (T1, T2), each a number
        or a picture [H, W]."""
        for channel, value in zip(self.image, tissue, strict=True):
            channel += alpha * (value - channel)

    def fill(self, distance, tissue, softness_mm=0.9):
        """Paints the inside of a shape given by its signed distance [H, W] in mm."""
        self.paint(coverage(distance, softness_mm), tissue)

    def bone(self, distance, cortex_mm=1.3, marrow=MARROW):
        """A bone: dark cortex around marrow."""
        self.fill(distance, CORTEX)
        self.fill(distance + cortex_mm, marrow, softness_mm=1.4)

    def window(self, u_low, u_high, v_low, v_high):
        """The rows and columns of a rectangle of the anatomy, in mm; none when it lies outside the
        picture. Small structures cost a fifth when drawn on views of these alone."""
        inside = (self.u > u_low) & (self.u < u_high) & (self.v > v_low) & (self.v < v_high)
        return _span(inside.any(axis=1)), _span(inside.any(axis=0))

    def view(self, box) -> "Canvas":
        """These rows and columns: paint there is paint here."""
        return Canvas(self.u[box], self.v[box], self.image[:, *box])


def pixel_axis_mm() -> np.ndarray:
    """Pixel centres [320] f32 of an axial picture, from its middle."""
    return (np.arange(SIZE_PX, dtype=np.float32) - (SIZE_PX - 1) / 2) * np.float32(SPACING_MM)


def blank_canvas(patient, level_index: int) -> Canvas:
    """An empty picture of one level with the patient's position, rotation, size and an elastic
    deformation that grows towards the skin."""
    rng = patient.rng("shape", level_index)
    axis = pixel_axis_mm()
    shift_u, shift_v = patient.shift_mm
    x = (axis - np.float32(shift_u))[None, :]
    y = (axis - np.float32(shift_v))[:, None]
    turn = np.deg2rad(patient.rotation_deg)
    size = np.float32(patient.scale)
    cos, sin = np.float32(np.cos(turn)) / size, np.float32(np.sin(turn)) / size
    u, v = cos * x + sin * y, cos * y - sin * x
    away = np.minimum((u * u + v * v) * np.float32(1 / 70**2), 1.0)
    strength = np.float32(0.5 + patient.difficulty) * (0.7 + 1.8 * away)
    for axis_mm in (u, v):
        axis_mm += strength * smooth_field(rng, u.shape, (7, 7))
        axis_mm += np.float32(0.4) * smooth_field(rng, u.shape, (28, 28))
    return Canvas(u, v, np.zeros((2, SIZE_PX, SIZE_PX), np.float32))


def _span(flags):
    index = np.flatnonzero(flags)
    return slice(index[0], index[-1] + 1) if index.size else slice(0)
