"""The spine of one slice: disc or body, canal, ligaments, facets, arch and nerve roots."""

import numpy as np

from data_prep.phantom.canvas import (
    ANNULUS,
    CORTEX,
    FAT,
    FLAVUM,
    FLUID,
    MARROW,
    NERVE,
)
from data_prep.phantom.shapes import bump, capsule, coverage, ellipse, left_of, ridge, smooth_step

_ROOT_ARC_DEG = (-80, -62, -44, -26, -9, 9, 26, 44, 62, 80)


def paint_spine(canvas, patient, level_index, offset_mm, textures):
    """Paints the central structures of `level` cut `offset_mm` above the middle of its disc."""
    level = patient.levels[level_index]
    u, v, w = canvas.u, canvas.v, np.abs(canvas.u)
    disc = disc_distance(level, u, v, offset_mm)
    rest_v = level.disc_depth_mm / 2 - level.concavity_mm + level.sac_gap_mm
    sac_v = rest_v + level.sac_depth_mm / 2
    apex_v = sac_v + level.sac_depth_mm / 2 + 7.5 - 3.0 * level.stenosis
    _paint_foramina(canvas, level, u, w, sac_v, textures)
    _paint_arch(canvas, level, u, w, sac_v, apex_v, offset_mm, textures)
    _paint_canal(canvas, level, w, sac_v, apex_v)
    _paint_sac(canvas, patient, level, level_index, disc, sac_v)
    _paint_disc(canvas, level, disc, offset_mm, textures)


def disc_distance(level, u, v, offset_mm=0.0):
    """Signed distance to the disc's outline: an ellipse hollow at the back, pushed out all round
    by the bulge and locally by the protrusion; both fade towards the end-plates."""
    fade = float(np.exp(-((offset_mm / 5.5) ** 2)))
    bulge, protrusion = level.bulge_mm * fade, level.protrusion_mm * fade
    distance = ellipse(u, v, 0.0, 0.0, level.disc_width_mm / 2, level.disc_depth_mm / 2)
    back = smooth_step(v, -4.0, 8.0)
    hollow = level.concavity_mm * max(0.0, 1.0 - bulge / 2.5)
    distance = distance + back * (hollow * bump(u, 10.0) - 0.65 * bulge) - 0.35 * bulge
    if protrusion > 0:
        dome = bump(u - level.protrusion_offset_mm, level.protrusion_width_mm)
        distance = distance - protrusion * back * dome
    return distance


def end_plate_fraction(level, offset_mm, thickness_mm=4.0):
    """Part of the slice's thickness that lies in bone instead of disc."""
    low, high = abs(offset_mm) - thickness_mm / 2, abs(offset_mm) + thickness_mm / 2
    half = level.disc_height_mm / 2
    return float(np.clip((high - max(low, half)) / thickness_mm, 0.0, 1.0))


def _paint_disc(canvas, level, disc, offset_mm, textures):
    """Annulus, nucleus (its T2 signal follows the grade), and what the slice catches of bone."""
    grade = level.degeneration
    nucleus_t2 = float(np.interp(grade, [1, 2, 3, 4, 5], [0.80, 0.62, 0.37, 0.21, 0.12]))
    nucleus_t1 = float(np.interp(grade, [1, 3, 5], [0.33, 0.30, 0.24]))
    mottle = 1 + (0.03 + 0.03 * max(0.0, grade - 2)) * textures.patches + 0.05 * textures.fine
    # The nucleus fades into the annulus, sharply in a young disc and hardly at all in a worn one.
    nucleus = smooth_step(-disc, 1.5, 6.0 + 2.0 * grade)
    t1 = (ANNULUS[0] + nucleus * (nucleus_t1 - ANNULUS[0])) * mottle
    t2 = (ANNULUS[1] + nucleus * (nucleus_t2 - ANNULUS[1])) * mottle
    canvas.fill(disc - 0.8, CORTEX)  # longitudinal ligament and dura
    canvas.fill(disc, (t1, t2), softness_mm=1.2)
    if level.annular_tear:
        back = level.disc_depth_mm / 2 - level.concavity_mm + 0.6 * level.bulge_mm - 1.8
        spot = ellipse(canvas.u, canvas.v, 0.7 * level.protrusion_offset_mm, back, 3.2, 1.1)
        canvas.fill(spot, (0.26, 0.95), softness_mm=1.2)
    bone = end_plate_fraction(level, offset_mm)
    if bone > 0:
        plate = max(0.0, grade - 3.0) * 0.05
        body = ellipse(
            canvas.u, canvas.v, 0, 0, level.disc_width_mm / 2 - 1, level.disc_depth_mm / 2 - 1
        )
        body = body + level.concavity_mm * bump(canvas.u, 10.0) * (canvas.v > 0)
        marrow = ((MARROW[0] + plate) * mottle, (MARROW[1] + plate) * mottle)
        alpha = bone * coverage(body, 1.2)
        canvas.paint(alpha * coverage(-body - 2.0, 2.0), CORTEX)
        canvas.paint(alpha * coverage(body + 1.5, 2.0), marrow)


def _paint_arch(canvas, level, u, w, sac_v, apex_v, offset_mm, textures):
    """Laminae from the inferior articular processes to the spinous process, and the superior
    processes capping them from the front and outside. Hypertrophy swells the facets, thickens
    their cortex and, like stenosis, crowds the canal."""
    v = canvas.v
    hypertrophy = np.where(u > 0, level.facet_left, level.facet_right).astype(np.float32)
    swell = np.maximum(0.0, hypertrophy - 0.2)
    x = w + 2.2 * level.stenosis + 1.2 * swell
    inferior = ellipse(x, v, 14.2, sac_v + 6.0, 3.8, 6.4, 30) - 2.2 * swell
    superior = ellipse(x, v, 17.2, sac_v + 2.8, 6.0, 8.2, 34) - 3.0 * swell
    superior = np.maximum(superior, 1.3 - inferior)
    base_v = apex_v + 5.0
    lamina = capsule(w, v, (13.5, sac_v + 10.0), (0.0, base_v), 2.9)
    stem = capsule(w, v, (0.0, base_v), (0.0, base_v + 24.0 - offset_mm), 2.3)
    tip = ellipse(w, v, 0.0, base_v + 22.0 - offset_mm, 3.0, 7.0)
    arch = np.minimum(np.minimum(inferior, lamina), np.minimum(stem, tip))

    halo = coverage(arch - 2.6, 3.0) * smooth_step(textures.streaks, -1.2, 0.8)
    canvas.paint(0.8 * halo, FAT)
    mottle = 1 + 0.12 * textures.patches + 0.06 * textures.fine
    sclerosis = mottle * (1 - 0.35 * swell)
    cortex = 0.9 + 1.0 * swell
    canvas.fill(superior - 0.4, CORTEX)
    canvas.fill(superior + cortex, (MARROW[0] * sclerosis, MARROW[1] * sclerosis))
    canvas.fill(arch - 0.3, CORTEX)
    canvas.fill(arch + cortex, (MARROW[0] * mottle, MARROW[1] * mottle), softness_mm=1.4)
    joint = np.maximum(np.abs(inferior - 0.7) - 0.3, superior - 1.2)
    canvas.fill(joint, (0.22, 0.6))


def _paint_canal(canvas, level, w, sac_v, apex_v):
    """Epidural fat between the flava, and the flava themselves."""
    v = canvas.v
    foot = (level.sac_width_mm / 2 + level.recess_mm, sac_v - 2.0)
    apex = (1.2, apex_v)
    inward = left_of(w, v, foot, apex)
    canal = np.maximum(np.maximum(inward, foot[1] - 5.0 - v), v - apex_v)
    canvas.fill(canal, FAT)
    flavum = capsule(w, v, foot, apex, level.flavum_mm / 2)
    canvas.fill(flavum - 0.3, CORTEX)
    canvas.fill(flavum, FLAVUM)


def _paint_foramina(canvas, level, u, w, sac_v, textures):
    """Fat, small veins and the exiting root between disc and facet; narrowing fills the fat with
    tissue."""
    v = canvas.v
    narrowing = np.where(u > 0, level.foraminal_left, level.foraminal_right).astype(np.float32)
    centre_v = 0.5 * (level.disc_depth_mm * 0.33 + sac_v - 5.0)
    fat = ellipse(w, v, 21.0, centre_v, 8.5, 5.2, -30)
    canvas.fill(fat, FAT, softness_mm=2.0)
    veins = ridge(textures.patches, 0.25) * coverage(fat - 6.0, 6.0)
    canvas.paint(0.5 * veins, NERVE)
    root = ellipse(w, v, 22.0, centre_v + 0.3, 2.8, 2.2, -30)
    canvas.fill(root, NERVE)
    closed = smooth_step(narrowing, 0.15, 0.85)
    tissue = ellipse(w, v, 19.5, centre_v, 9.0, 6.2, -30) + 7.0 * (1 - closed)
    canvas.fill(tissue, (0.19, 0.13), softness_mm=1.4)


def _paint_sac(canvas, patient, level, level_index, disc, sac_v):
    """The thecal sac cut by the disc, its roots settled at the back, and the traversing roots."""
    box = canvas.window(-14, 14, sac_v - 10, sac_v + 10)
    canvas, disc = canvas.view(box), disc[box]
    u, v = canvas.u, canvas.v
    half_u, half_v = level.sac_width_mm / 2, level.sac_depth_mm / 2
    narrowed = u * (1 + 0.22 * (v - sac_v) / half_v)
    # Dura lies on the disc: the sac gives way instead of being covered.
    sac = np.maximum(ellipse(narrowed, v, 0.0, sac_v, half_u, half_v), 1.0 - disc)
    for side in (-1, 1):
        root = ellipse(u, v, side * (half_u + 1.6), sac_v - 0.35 * half_v, 1.7, 2.0)
        canvas.fill(root, NERVE)
    canvas.fill(sac - 0.7, CORTEX)
    canvas.fill(sac, FLUID)
    rng = patient.rng("roots", level_index)
    inside = coverage(sac + 0.6)
    jitter = rng.uniform(-0.6, 0.6, (len(_ROOT_ARC_DEG), 2))
    for arc_deg, (du, dv) in zip(_ROOT_ARC_DEG, jitter, strict=True):
        arc = np.deg2rad(arc_deg)
        root_u = float(0.68 * half_u * np.sin(arc) + du)
        root_v = float(sac_v + 0.62 * half_v * np.cos(arc) + dv)
        canvas.paint(0.85 * inside * bump(np.hypot(u - root_u, v - root_v), 1.1), NERVE)
