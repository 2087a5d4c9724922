"""A plain mid-sagittal picture (the column, its discs and the sac), and the position display made
from it. Cheap on purpose: the data set is made of axial slices."""

import dataclasses
import itertools
import math

import numpy as np
from PIL import Image, ImageDraw

from data_prep.phantom.canvas import (
    AIR,
    ANNULUS,
    FAT,
    FLUID,
    MUSCLE,
    NERVE,
    SKIN,
    VESSEL,
    Canvas,
)
from data_prep.phantom.geometry import Plane, axial_plane, sagittal_plane
from data_prep.phantom.shapes import bump, capsule, coverage, smooth_field

SIZE_PX = 192
SHAPE = (SIZE_PX, SIZE_PX)
SPACING_MM = 300.0 / SIZE_PX

# (tilt, height) of the discs above those with parameters, upwards to T12-L1.
_UPPER_DISCS = ((-8.0, 9.5), (-11.0, 8.5), (-12.0, 7.5))
_STEP_MM = 35.0


@dataclasses.dataclass(frozen=True)
class _Disc:
    y: float
    z: float
    tilt_deg: float
    height_mm: float
    depth_mm: float = 35.0
    bulge_mm: float = 0.0
    grade: float = 2.0

    def point(self, back=0.0, up=0.0):
        """(y, z) of a point given along the disc's own axes."""
        cos, sin = math.cos(math.radians(self.tilt_deg)), math.sin(math.radians(self.tilt_deg))
        return self.y + back * cos - up * sin, self.z + back * sin + up * cos

    def neighbour(self, up_mm, tilt_deg, height_mm):
        """The next disc of the column, `up_mm` above this one (below if negative)."""
        y, z = self.point(up=up_mm)
        return _Disc(y, z, tilt_deg, height_mm)


def plane(x_mm: float = 0.0) -> Plane:
    return sagittal_plane(x_mm, SPACING_MM)


def render_sagittal(patient) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean mid-sagittal signal [2, 192, 192] f32 (T1, T2) in the frame of `plane()`, the depth
    [192, 192] in mm below the skin of the back, and the position [1, 192] behind the discs."""
    corner = plane().position_mm(SHAPE)
    axis = np.arange(SIZE_PX, dtype=np.float32) * np.float32(SPACING_MM)
    y = np.broadcast_to(axis[None, :] + np.float32(corner[1]), SHAPE)
    z = np.broadcast_to(np.float32(corner[2]) - axis[:, None], SHAPE)
    texture = smooth_field(patient.rng("sagittal"), SHAPE, (60, 60))
    canvas = Canvas(y, z, np.zeros((2, *SHAPE), np.float32))
    canvas.paint(np.float32(1.0), tuple(value * (1 + 0.03 * texture) for value in FAT))

    discs = _column(patient)
    first_sacral = discs[-1].neighbour(-0.8 * _STEP_MM, discs[-1].tilt_deg + 15, 3.0)
    second_sacral = first_sacral.neighbour(-0.7 * _STEP_MM, first_sacral.tilt_deg + 12, 2.0)
    _paint_soft_tissue(canvas, [*discs, first_sacral])
    chain = [discs[0].neighbour(_STEP_MM, -12.0, 7.0), *discs, first_sacral, second_sacral]
    for upper, lower in itertools.pairwise(chain):
        canvas.bone(_body(y, z, upper, lower), 1.2)
    for disc in discs:
        _paint_disc(canvas, disc)
    back_y = discs[-2].y + 66 + patient.fat_mm
    depth = np.float32(back_y) - 8.0 * (1 - bump(z - 60, 90.0)) - y
    canvas.fill(depth - 2.0, SKIN, softness_mm=2.0)
    canvas.fill(depth, AIR, softness_mm=1.6)
    # The front band of a sagittal series lies well before the spine.
    return canvas.image, depth, y[:1] - np.float32(discs[-2].y - 35)


def position_display(patient, picture, name: str) -> np.ndarray:
    """Screenshot uint8 [192, 192] of a sagittal picture with the planned axial slices and, as
    screenshots do, the patient's name burnt into the pixels."""
    scale = 255 / max(1, int(picture.max()))
    screen = Image.fromarray((picture.astype(np.float32) * scale).astype(np.uint8))
    pen = ImageDraw.Draw(screen)
    for level_index in range(len(patient.levels)):
        axial = axial_plane(patient, level_index, 0.0)
        ends = (plane().pixel_of(axial.centre_mm + s * axial.column, SHAPE) for s in (-55, 55))
        pen.line([(float(column), float(row)) for row, column in ends], fill=255)
    pen.text((4, 4), name, fill=255)
    return np.asarray(screen)


def _column(patient) -> list[_Disc]:
    """Discs from T12-L1 to L5-S1."""
    discs = [
        _Disc(
            level.centre_mm[1],
            level.centre_mm[2],
            level.tilt_deg,
            level.disc_height_mm,
            level.disc_depth_mm,
            level.bulge_mm + 0.7 * level.protrusion_mm,
            level.degeneration,
        )
        for level in patient.levels
    ]
    for tilt, height in _UPPER_DISCS:
        discs.insert(0, discs[0].neighbour(_STEP_MM, tilt, height))
    return discs


def _paint_soft_tissue(canvas, discs):
    """Great vessels, back muscles, epidural fat and the sac with the cauda equina."""
    y, z = canvas.u, canvas.v
    pairs = list(itertools.pairwise(discs))
    for above, below in pairs:
        canvas.fill(capsule(y, z, above.point(-32), below.point(-32), 7.0), VESSEL)
        canvas.fill(capsule(y, z, above.point(48), below.point(48), 15.0), MUSCLE)
    for above, below in pairs:
        start, end = (d.point(d.depth_mm / 2 + 7.5) for d in (above, below))
        canvas.fill(capsule(y, z, start, end, 6.5), FLUID, softness_mm=1.6)
    for above, below in pairs:
        start, end = (d.point(d.depth_mm / 2 + 9.0) for d in (above, below))
        canvas.paint(0.6 * coverage(capsule(y, z, start, end, 1.2), 3.0), NERVE)


def _body(y, z, upper, lower):
    """Distance to the vertebra between two discs: a rounded box at their mean tilt."""
    centre_y, centre_z = (upper.y + lower.y) / 2, (upper.z + lower.z) / 2
    gap = math.hypot(upper.y - lower.y, upper.z - lower.z)
    half_height = (gap - (upper.height_mm + lower.height_mm) / 2) / 2
    tilt_deg = (upper.tilt_deg + lower.tilt_deg) / 2
    return _box(y, z, centre_y, centre_z, tilt_deg, 17.0, half_height)


def _box(y, z, centre_y, centre_z, tilt_deg, half_back, half_up, corner_mm=2.0):
    cos, sin = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    dy, dz = y - centre_y, z - centre_z
    back = np.abs(cos * dy + sin * dz) - (half_back - corner_mm)
    up = np.abs(cos * dz - sin * dy) - (half_up - corner_mm)
    outside = np.hypot(np.maximum(back, 0), np.maximum(up, 0))
    return outside + np.minimum(np.maximum(back, up), 0) - corner_mm


def _paint_disc(canvas, disc):
    y, z = canvas.u, canvas.v
    centre_y, centre_z = disc.point(back=disc.bulge_mm / 2)
    half_back, half_up = (disc.depth_mm + disc.bulge_mm) / 2, disc.height_mm / 2
    signal = float(np.interp(disc.grade, [1, 2, 3, 4, 5], [0.80, 0.62, 0.37, 0.21, 0.12]))
    box = _box(y, z, centre_y, centre_z, disc.tilt_deg, half_back, half_up)
    canvas.fill(box, ANNULUS)
    core = _box(y, z, disc.y, disc.z, disc.tilt_deg, half_back - 5, max(2.2, half_up - 1.5))
    canvas.fill(core, (0.30, signal), softness_mm=2.5)
