"""Axial slices: parameters in, noise-free T1 and T2 signal out."""

import dataclasses

import numpy as np

from data_prep.phantom.anatomy import Patient
from data_prep.phantom.canvas import SIZE_PX, Canvas, blank_canvas
from data_prep.phantom.shapes import smooth_field
from data_prep.phantom.spine import paint_spine
from data_prep.phantom.surround import paint_surround, skin_depth


@dataclasses.dataclass(frozen=True)
class Textures:
    """Random fields [H, W] of about unit variance that several tissues share."""

    fine: np.ndarray
    patches: np.ndarray
    coarse: np.ndarray
    streaks: np.ndarray

    def window(self, box):
        return Textures(*(getattr(self, f.name)[box] for f in dataclasses.fields(self)))


def draw_textures(patient: Patient, level_index: int) -> Textures:
    rng = patient.rng("texture", level_index)
    shape = (SIZE_PX, SIZE_PX)
    return Textures(
        fine=smooth_field(rng, shape, (100, 100)),
        patches=smooth_field(rng, shape, (30, 36)),
        coarse=smooth_field(rng, shape, (13, 13)),
        streaks=smooth_field(rng, shape, (26, 60)),
    )


def render_block(patient: Patient, level_index: int, offsets_mm=(0.0,)):
    """Clean signal of the axial slices through one disc.

    Returns (signal [K, 2, 320, 320] f32, depth [320, 320] f32): K slices `offsets_mm` above the
    middle of the disc, T1 then T2, T1 fat about 1; and each pixel's depth in mm under the skin of
    the back. The slices of a block share their surroundings, which saves most of the time: within
    a centimetre muscles hardly change, the spine does.
    """
    textures = draw_textures(patient, level_index)
    canvas = blank_canvas(patient, level_index)
    paint_surround(canvas, patient, level_index, textures)
    box = canvas.window(-38, 38, -30, 78)
    spine_textures = textures.window(box)
    signal = np.repeat(canvas.image[None], len(offsets_mm), axis=0)
    for image, offset_mm in zip(signal, offsets_mm, strict=True):
        spine = Canvas(canvas.u, canvas.v, image).view(box)
        paint_spine(spine, patient, level_index, offset_mm, spine_textures)
    return signal, skin_depth(patient, level_index, canvas.u) - canvas.v
