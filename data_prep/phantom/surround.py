"""What lies around the spine: fat, muscles, iliac bones, great vessels, bowel, skin and air."""

import numpy as np

from data_prep.phantom.canvas import AIR, BOWEL, CORTEX, FAT, MARROW, MUSCLE, SKIN, VESSEL
from data_prep.phantom.shapes import (
    bump,
    capsule,
    coverage,
    ellipse,
    ridge,
    smooth_step,
)

# (centre u, centre v, half width, half depth, turn) of each muscle, mm, one entry a level.
_PSOAS = ((38, -1, 15.5, 19, 20), (43, -3, 19, 21, 15), (44, -15, 17, 18, 0))
_QUADRATUS = ((72, 21, 22, 8, -6), (74, 17, 22, 6.5, -8), None)
_BACK = ((37, 47, 35, 24, 0), (36, 46.5, 34, 24.5, -6), (27, 46.5, 25.5, 23.5, -14))
_FASCIA_V = (71.0, 71.0, 70.0)
_VESSELS = (
    ((9, -9, 8, 8), (-13, -8, 10, 7.5)),
    ((12, -8, 6, 5), (-10, -7, 7, 5.5), (-1, -9, 5, 4.5)),
    ((20, -10, 5, 5), (28, -7, 6, 4.5), (-21, -10, 5, 5), (-28, -6, 6, 5)),
)


def paint_surround(canvas, patient, level_index, textures):
    """Paints everything but the spine and its canal, back to front."""
    u = canvas.u
    side = np.sign(u) * np.float32(patient.asymmetry)
    w = np.abs(u) / (1 + side)
    _paint_fat(canvas, textures)
    _paint_bowel(canvas, patient, level_index)
    _paint_muscles(canvas, patient, level_index, textures, w)
    if level_index == 2:
        _paint_pelvis(canvas, textures, w)
    elif level_index == 1 and patient.high_iliac_crest:
        _paint_iliac_crest(canvas, textures, w)
    front = -patient.levels[level_index].disc_depth_mm / 2
    central = canvas.view(canvas.window(-42, 42, front - 24, front + 6))
    for vessel_u, vessel_v, half_u, half_v in _VESSELS[level_index]:
        distance = ellipse(central.u, central.v, vessel_u, front + vessel_v, half_u, half_v)
        central.fill(distance, VESSEL)
    _paint_skin(canvas, patient, level_index, textures)


def skin_depth(patient, level_index, u):
    """The `v` of the skin behind each `u`: fascia, fat, flanks curving forward, midline furrow."""
    furrow = min(7.0, 0.15 * patient.fat_mm + 1.5) * bump(u, 14.0)
    flank = u * u * np.float32(1 / 800.0)
    return np.float32(_FASCIA_V[level_index] + 5.0 + patient.fat_mm) - flank - furrow


def _paint_fat(canvas, textures):
    septa = 1 - 0.16 * ridge(textures.coarse, 0.1) - 0.02 * textures.fine
    for channel, value in zip(canvas.image, FAT, strict=True):
        channel += value * septa


def _paint_bowel(canvas, patient, level_index):
    rng = patient.rng("bowel", level_index)
    for sign in (-1, 1, -1, 1):
        u, v = sign * rng.uniform(72, 105), rng.uniform(-44, -12)
        half_u, half_v = rng.uniform(8, 20), rng.uniform(8, 20)
        box = canvas.window(u - half_u - 4, u + half_u + 4, v - half_v - 4, v + half_v + 4)
        loop = canvas.view(box)
        loop.fill(ellipse(loop.u, loop.v, u, v, half_u, half_v), BOWEL, softness_mm=4.0)


def _paint_muscles(canvas, patient, level_index, textures, w):
    v, bulk = canvas.v, patient.muscle
    shade = 1 + 0.09 * textures.fine
    fibre = (MUSCLE[0] * shade, MUSCLE[1] * shade)
    streaks = ridge(textures.streaks, 0.38) * smooth_step(
        textures.patches + 1.5 * patient.infiltration, -0.4, 1.4
    )

    multifidus = ellipse(w, v, 15.0, 47.0, 14.0, 21.0)
    back = np.minimum(_muscle(w, v, _BACK[level_index], bulk), multifidus)
    back = np.maximum(back, 2.8 - w)
    canvas.paint(0.8 * coverage(back - 0.7), CORTEX)
    canvas.fill(back, fibre)
    inside = coverage(back + 1.0)
    # Clefts between multifidus, longissimus and iliocostalis, and fat that starts at the lamina.
    patchy = smooth_step(textures.patches + 2.0 * patient.infiltration, -0.6, 1.2)
    for foot, tip in ((17, 26), (36, 52)):
        middle = foot + (tip - foot) * (v - 24) / 46 + 2.2 * textures.coarse
        cleft = bump(w - middle, 0.6 + 1.2 * patient.infiltration)
        canvas.paint(0.8 * inside * cleft * patchy, FAT)
    lamina = bump(np.hypot(w - 8, 0.55 * (v - 40)), 9.0) + 0.8 * bump(
        np.hypot(0.7 * (w - 24), v - 27), 8.0
    )
    wasting = 0.8 * textures.streaks + 0.3 * textures.patches + 1.7 * lamina
    wasting = wasting + 2.2 * patient.infiltration + 0.2 * level_index
    wasted = smooth_step(wasting, 1.5, 2.6)
    canvas.paint(inside * np.maximum(0.95 * wasted, 0.8 * streaks), FAT)

    for muscle in (_PSOAS[level_index], _QUADRATUS[level_index]):
        if muscle is not None:
            distance = _muscle(w, v, muscle, bulk)
            canvas.fill(distance, fibre)
            canvas.paint(0.4 * coverage(distance + 2.0) * streaks, FAT)


def _muscle(w, v, shape, bulk):
    centre_w, centre_v, half_w, half_v, turn = shape
    return ellipse(w, v, centre_w, centre_v, half_w * bulk, half_v * bulk, turn)


def _paint_pelvis(canvas, textures, w):
    """Iliac wings between iliacus and gluteus, and the sacral ala."""
    v = canvas.v
    marrow = _mottled_marrow(textures)
    wing = capsule(w, v, (49, 33), (118, -16), 4.5 + 0.05 * w)
    beside = capsule(w, v, (45, 16), (118, -36), 9.5)
    behind = capsule(w, v, (60, 40), (125, 0), 9.0)
    shade = 1 + 0.08 * textures.fine
    fibre = (MUSCLE[0] * shade, MUSCLE[1] * shade)
    canvas.fill(np.minimum(beside, behind), fibre)
    canvas.paint(0.4 * coverage(np.minimum(beside, behind)) * ridge(textures.streaks, 0.25), FAT)
    canvas.bone(wing, 1.5, marrow)
    canvas.bone(ellipse(w, v, 33, 13, 9, 8, 25), 1.0, marrow)


def _paint_iliac_crest(canvas, textures, w):
    crest = capsule(w, canvas.v, (74, 24), (122, 4), 4.2)
    canvas.fill(crest - 5, MUSCLE, softness_mm=2.0)
    canvas.bone(crest, 1.4, _mottled_marrow(textures))


def _mottled_marrow(textures):
    mottle = 1 + 0.10 * textures.patches + 0.08 * textures.fine
    return (MARROW[0] * mottle, MARROW[1] * mottle)


def _paint_skin(canvas, patient, level_index, textures):
    depth = skin_depth(patient, level_index, canvas.u) - canvas.v
    # A superficial fascia runs parallel to the skin within thick fat.
    fascia = bump(depth - 0.45 * patient.fat_mm - 1.5 * textures.coarse, 0.6)
    canvas.paint(0.35 * fascia, CORTEX)
    canvas.fill(depth - 1.6, SKIN, softness_mm=1.2)
    canvas.fill(depth, AIR, softness_mm=1.0)
