"""The phantom's pictures show what its parameters say."""

import dataclasses
import itertools

import numpy as np
import pytest

from data_prep.phantom.acquisition import acquire, draw_scan
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.canvas import blank_canvas, pixel_axis_mm
from data_prep.phantom.render import render_block
from data_prep.phantom.shapes import capsule, coverage, ellipse, smooth_field
from data_prep.phantom.spine import disc_distance, end_plate_fraction

L45 = 1


def healthy(**changes):
    """A patient whose L4-L5 is sound apart from `changes`, straight in the scanner."""
    patient = draw_patient(5, 2, 0.5)
    level = dataclasses.replace(
        patient.levels[L45],
        bulge_mm=0.0,
        protrusion_mm=0.0,
        protrusion_offset_mm=0.0,
        protrusion_width_mm=5.5,
        degeneration=2.0,
        annular_tear=False,
        stenosis=0.0,
        foraminal_left=0.0,
        foraminal_right=0.0,
        facet_left=0.2,
        facet_right=0.2,
        sac_width_mm=16.0,
        sac_depth_mm=13.0,
        sac_gap_mm=1.1,
        concavity_mm=1.6,
        disc_depth_mm=37.0,
    )
    level = dataclasses.replace(level, **changes)
    levels = (patient.levels[0], level, patient.levels[2])
    return dataclasses.replace(patient, rotation_deg=0.0, shift_mm=(0.0, 0.0), levels=levels)


def picture(patient, offset_mm=0.0):
    """(T1, T2, u, v) of the L4-L5 slice."""
    signal, _ = render_block(patient, L45, (offset_mm,))
    canvas = blank_canvas(patient, L45)
    return signal[0, 0], signal[0, 1], canvas.u, canvas.v


def sac_mask(patient):
    """The resting place of the thecal sac."""
    _, _, u, v = picture(patient)
    return ellipse(u, v, 0.0, 18.5 - 1.6 + 1.1 + 6.5, 7.0, 5.5) < 0


def test_fluid_is_dark_on_t1_and_bright_on_t2():
    patient = healthy()
    t1, t2, u, v = picture(patient)
    sac = sac_mask(patient)
    disc = ellipse(u, v, 0, 0, 15, 10) < 0
    assert t1[sac].mean() < t1[disc].mean() < t2[disc].mean() < t2[sac].mean()
    assert t2[sac].mean() > 3 * t1[sac].mean()


def test_roots_lie_in_the_back_of_the_sac():
    patient = healthy()
    _, t2, _, v = picture(patient)
    sac = sac_mask(patient)
    middle = np.median(v[sac])
    assert t2[sac & (v < middle - 1)].mean() > 1.15 * t2[sac & (v > middle + 1)].mean()


@pytest.mark.parametrize(("offset_mm", "right_of_image"), [(6.5, True), (-6.5, False)])
def test_a_left_protrusion_shows_on_the_right_of_the_image(offset_mm, right_of_image):
    sound, ill = healthy(), healthy(protrusion_mm=6.0, protrusion_offset_mm=offset_mm)
    _, before, u, v = picture(sound)
    _, after, _, _ = picture(ill)
    columns = np.arange(320)[None, :] - 159.5
    behind = (np.abs(u) < 14) & (v > 16) & (v < 24)
    darker = behind & (after < before - 0.2)
    on_right = (darker & (columns > 0)).sum()
    on_left = (darker & (columns < 0)).sum()
    assert ill.levels[L45].side == ("left" if right_of_image else "right")
    many, few = (on_right, on_left) if right_of_image else (on_left, on_right)
    assert many > 20
    assert many > 5 * few


def test_bulge_and_stenosis_take_room_from_the_sac():
    def fluid_px(**changes):
        _, t2, u, v = picture(healthy(**changes))
        return int(((t2 > 0.6) & (np.abs(u) < 10) & (v > 14) & (v < 33)).sum())

    areas = [fluid_px(bulge_mm=b) for b in (0.0, 2.5, 5.0)]
    assert areas[0] > 1.15 * areas[1] > 1.15**2 * areas[2] > 0
    narrow = {"stenosis": 0.9, "sac_width_mm": 16.0 * 0.71, "sac_depth_mm": 13.0 * 0.66}
    assert fluid_px(**narrow) < 0.6 * areas[0]


def test_grade_darkens_the_disc_on_t2_and_little_on_t1():
    def disc(grade):
        t1, t2, u, v = picture(healthy(degeneration=grade))
        inside = ellipse(u, v, 0, 0, 12, 8) < 0
        return t1[inside].mean(), t2[inside].mean()

    values = np.array([disc(grade) for grade in (1.0, 2.0, 3.0, 4.0, 5.0)])
    assert (np.diff(values[:, 1]) < -0.04).all()
    assert (np.diff(values[:, 0]) < 0).all()
    assert values[0, 0] - values[-1, 0] < 0.25 * (values[0, 1] - values[-1, 1])


def test_narrowing_closes_the_foramen_of_its_side():
    open_t1, _, u, v = picture(healthy())
    shut_t1, _, _, _ = picture(healthy(foraminal_left=1.0))
    foramen = (np.abs(u) > 16) & (np.abs(u) < 26) & (v > 12) & (v < 18)
    assert (open_t1 - shut_t1)[foramen & (u > 0)].mean() > 0.15
    np.testing.assert_array_equal(open_t1[foramen & (u < -1)], shut_t1[foramen & (u < -1)])


def test_hypertrophy_swells_the_facet_of_its_side():
    before, _, u, _v = picture(healthy())
    after, _, _, _ = picture(healthy(facet_right=1.0))
    changed = np.abs(after - before) > 0.1
    assert (changed & (u < 0)).sum() > 60
    assert not (changed & (u > 1)).any()


def test_outer_slices_catch_the_end_plate():
    patient = healthy(disc_height_mm=8.0)
    assert end_plate_fraction(patient.levels[L45], 0.0) == 0.0
    # The slab reaches from 2.4 to 6.4 mm; bone begins at 4.0 mm.
    assert end_plate_fraction(patient.levels[L45], -4.4) == pytest.approx(0.6)
    middle, _, u, v = picture(patient)
    outer, _, _, _ = picture(patient, 4.4)
    body = ellipse(u, v, 0, 0, 15, 10) < 0
    assert outer[body].mean() > middle[body].mean() + 0.05


def test_disc_outline_by_hand():
    level = healthy(bulge_mm=3.0, disc_width_mm=50.0).levels[L45]
    u, v = np.array([0.0, 25.0]), np.array([37 / 2 + 3.0, 0.0])
    # A 3 mm bulge fills the hollow and reaches 3 mm at the back, some 1.5 mm at the flank.
    np.testing.assert_allclose(disc_distance(level, u, v)[0], 0.0, atol=0.3)
    assert -2.6 < disc_distance(level, u, v)[1] < -1.0


def test_distances_by_hand():
    zero = np.zeros(1)
    assert ellipse(zero + 7, zero, 0, 0, 4.0, 4.0)[0] == pytest.approx(3.0)
    assert capsule(zero + 3, zero + 4, (0, 0), (0, -9), 1.0)[0] == pytest.approx(4.0)
    np.testing.assert_allclose(coverage(np.array([-9.0, 0.0, 9.0])), [1, 0.5, 0])


def test_random_fields_have_unit_variance():
    field = smooth_field(np.random.default_rng(0), (200, 300), (40, 60))
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1.0, abs=0.1)


def stored(patient, channel=1):
    signal, depth = render_block(patient, L45, (0.0,))
    back = pixel_axis_mm()[:, None]
    scan, rng = draw_scan(patient, channel), patient.rng("noise", channel)
    return acquire(signal[0, channel], depth, back, scan, rng, patient.difficulty)


def test_scan_is_bright_at_the_back_and_empty_at_the_front():
    pixels = stored(healthy(), 0)
    assert pixels.dtype == np.uint16
    rows = pixels.mean(axis=1)
    assert rows[:90].max() < 0.15 * rows.max()
    assert 200 < np.argmax(rows) < 310


def test_difficulty_adds_noise_and_shrinks_lesions():
    def summary(difficulty):
        patients = [draw_patient(0, n, difficulty) for n in range(1, 121)]
        levels = [level for p in patients for level in p.levels]
        bulges = [level.bulge_mm for level in levels]
        gap = min(b for b in bulges if b > 1.5) - max(b for b in bulges if b < 1.5)
        protrusion = np.mean([x.protrusion_mm for x in levels if x.protrusion_mm > 0])
        scans = [draw_scan(p, 0) for p in patients]
        shift = np.mean([np.hypot(*p.shift_mm) for p in patients])
        lesions = (np.mean([b for b in bulges if b > 1.5]), gap, protrusion)
        trouble = [np.mean([getattr(s, k) for s in scans]) for k in ("noise", "ghost", "coil_gain")]
        return lesions, (*trouble, shift)

    steps = [summary(d) for d in (0.0, 0.5, 1.0)]
    for easy, hard in itertools.pairwise(steps):
        assert all(a > b for a, b in zip(easy[0], hard[0], strict=True))
        assert all(a < b for a, b in zip(easy[1], hard[1], strict=True))


def test_difficulty_is_visible_in_the_air():
    air = [stored(dataclasses.replace(healthy(), difficulty=d))[:60].mean() for d in (0, 0.5, 1)]
    assert air[0] < air[1] < air[2]
