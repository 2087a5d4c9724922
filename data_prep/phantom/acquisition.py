"""From clean signal to what the scanner stores: coil shading, saturation, ghosts, noise, 12 bit."""

import dataclasses

import numpy as np

from data_prep.phantom.anatomy import Patient
from data_prep.phantom.shapes import bump, smooth_field, smooth_step

MAXIMUM = 4095


@dataclasses.dataclass(frozen=True)
class Scan:
    """How one series was acquired: constant over its slices."""

    noise: float  # standard deviation, relative to fat far from the coil
    coil_gain: float  # extra signal at the skin over the depth of the body
    coil_depth_mm: float
    saturation_mm: float  # front saturation band: where it ends, before the disc's centre
    ghost: float  # signal of each motion ghost
    ghost_shift_px: int
    ghost_axis: int  # phase encoding: 0 front to back, 1 left to right
    wrap_mm: float | None  # centre of a dark band across deep fat
    scale: float  # stored value of signal 1


def draw_scan(patient: Patient, sequence_index: int) -> Scan:
    """The acquisition of series 0 (T1) or 1 (T2); difficulty scales noise, shading and motion."""
    rng = patient.rng("scan", sequence_index)
    difficulty = patient.difficulty
    moved = rng.random() < 0.5
    wrapped = rng.random() < 0.15 and patient.fat_mm > 30
    return Scan(
        noise=(0.012 + 0.040 * difficulty) * rng.uniform(0.7, 1.3),
        coil_gain=(0.6 + 1.2 * difficulty) * rng.uniform(0.7, 1.3),
        coil_depth_mm=rng.uniform(30, 55),
        saturation_mm=rng.normal(-23.0, 3.0),
        ghost=0.05 * difficulty * rng.random() * (2.0 if moved else 0.5),
        ghost_shift_px=int(rng.integers(30, 110)),
        ghost_axis=int(rng.random() < 0.7),
        wrap_mm=float(rng.uniform(70, 95)) if wrapped else None,
        scale=float(rng.uniform(850, 1250)),
    )


def acquire(signal, depth_mm, back_mm, scan: Scan, rng, difficulty: float) -> np.ndarray:
    """Stored uint16 pixels [H, W] in 0..4095 of one slice.

    From its clean signal [H, W], each pixel's depth [H, W] below the skin of the back, where the
    coil lies, and its position behind the disc ([H, 1] or [1, W]), where the bands lie.
    """
    image = signal * _shading(depth_mm, back_mm, scan, rng, difficulty)
    if scan.ghost > 0.002:
        shift = scan.ghost_shift_px
        image = image + scan.ghost * (
            np.roll(image, shift, scan.ghost_axis) + np.roll(image, -shift, scan.ghost_axis)
        )
    return _store(_rician(image, scan.noise, rng), scan.scale)


def _shading(depth_mm, back_mm, scan, rng, difficulty):
    """Sensitivity of a surface coil under the back, times the saturation and wrap bands."""
    kept = 0.04 + 0.96 * smooth_step(back_mm, scan.saturation_mm - 4.5, scan.saturation_mm + 4.5)
    if scan.wrap_mm is not None:
        kept = kept * (1 - 0.6 * bump(back_mm - scan.wrap_mm, 6.0))
    uneven = 1 + 0.12 * difficulty * smooth_field(rng, depth_mm.shape, (3, 3))
    decay = np.exp(np.maximum(depth_mm, 0) * np.float32(-1 / scan.coil_depth_mm))
    return (0.7 + scan.coil_gain * decay) * uneven * kept


def _rician(image, noise, rng):
    """Magnitude of the signal with Gaussian noise in both channels (Gudbjartsson & Patz 1995),
    correlated over neighbours as interpolated k-space leaves it."""
    white = rng.standard_normal((image.shape[0] + 1, image.shape[1] + 1), dtype=np.float32)
    rows = white[1:] + white[:-1]
    correlated = (rows[:, 1:] + rows[:, :-1]) * np.float32(0.5 * noise)
    real = image + correlated
    # Turned by 180 degrees the same draw is independent at every pixel, at half the cost.
    imaginary = correlated[::-1, ::-1]
    return np.sqrt(real * real + imaginary * imaginary)


def _store(image, scale):
    return np.clip(np.rint(image * np.float32(scale)), 0, MAXIMUM).astype("<u2")
