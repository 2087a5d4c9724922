"""Bad scans from good ones: what goes wrong with an MR image, in five degrees.

    corrupted = corrupt(images, "rician_noise", severity=3, keys=rows)

Severity 0 leaves every byte as it is. What is random (where patches lie, the noise) is drawn from a
key, the same for all severities of an image, so that a curve over severity follows one accident as
it gets worse. Pixels are the 8-bit greys of the data set: signal after the window, so that amounts
given in greys are shares of the displayed range and not of the scanner's signal.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.ndimage

# Image float64 [H, W] in greys 0..255, amount, generator -> float64 [H, W], to be clipped.
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

OCCLUSION_PATCHES = 20  # a side: 16 px, 11 mm, of a 320 px image
GHOST_REPLICAS = 5  # ghosts lie a fifth of the image apart


def occlude(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Blackens a share `amount` of a 20 x 20 grid of patches; a larger share adds to a smaller."""
    rows, columns = (np.arange(side) * min(OCCLUSION_PATCHES, side) // side for side in image.shape)
    patch = rows[:, None] * (columns[-1] + 1) + columns
    patches = patch.max() + 1
    turn = np.argsort(rng.permutation(patches))
    return np.where(turn[patch] < round(amount * patches), 0.0, image)


def add_rician_noise(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of a signal with Gaussian noise of `amount` greys in both its channels.

    Gudbjartsson and Patz, 1995. Air, which has no signal, is lifted to `amount` * sqrt(pi / 2).
    """
    real, imaginary = amount * rng.standard_normal((2, *image.shape))
    return np.hypot(image + real, imaginary)


def blur(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian point spread with a standard deviation of `amount` pixels."""
    return scipy.ndimage.gaussian_filter(image, amount, mode="nearest")


def add_bias_field(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Uneven sensitivity of the coil: `amount` times as bright at one place as at another.

    The logarithm of the field is a random polynomial of second order over the image, as Van Leemput
    et al. (1999) model it, scaled to a span of log(`amount`) over the central half of the sides,
    where the spine is. The mean brightness stays.
    """
    y, x = (np.linspace(-1, 1, side) for side in image.shape)
    y = y[:, None]
    weights = rng.standard_normal(5)
    field = np.zeros(image.shape)
    for weight, term in zip(weights, (x, y, x * y, x**2, y**2), strict=True):
        field += weight * term
    span = np.ptp(field[np.ix_(np.abs(y[:, 0]) <= 0.5, np.abs(x) <= 0.5)])
    field = np.exp(np.log(amount) * field / max(span, 1e-12))
    return image * field * image.sum() / max((image * field).sum(), 1e-12)


def add_ghosts(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Motion that repeats, such as breathing, while the lines of k-space are taken.

    The lines, taken from front to back of the patient, are modulated by 1 + `amount` * cos, which
    puts a copy of `amount` / 2 in front of the image and one behind it, a fifth of the field apart
    and wrapped around. An isolated point keeps its signal and adds `amount`**2 / 2 of its energy.
    """
    lines = np.arange(len(image))
    shift = round(len(image) / GHOST_REPLICAS)
    phase = rng.uniform(0, 2 * np.pi)
    modulation = 1 + amount * np.cos(2 * np.pi * lines * shift / len(image) + phase)
    return np.abs(np.fft.ifft(np.fft.fft(image, axis=0) * modulation[:, None], axis=0))


def down_sample(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A matrix `amount` times as coarse, interpolated back: k-space beyond it is zero.

    As on a scanner, edges ring (Gibbs).
    """
    keep = [np.abs(np.fft.fftfreq(side)) < 0.5 / amount for side in image.shape]
    spectrum = np.fft.fft2(image) * (keep[0][:, None] & keep[1])
    return np.abs(np.fft.ifft2(spectrum))


def bend_greys(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Another display curve: greys to the power of `amount`, or of its inverse, by chance."""
    exponent = amount if rng.random() < 0.5 else 1 / amount
    return 255 * (image / 255) ** exponent


def mirror(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Left becomes right, as in a slice shown from the other side. Twice is once not."""
    return image[:, ::-1]


@dataclasses.dataclass(frozen=True)
class Corruption:
    """`amounts[s - 1]` is what severity s means to `change`, in the given unit."""

    change: Change
    amounts: tuple[float, ...]
    unit: str


CORRUPTIONS = {
    "occlusion": Corruption(occlude, (0.1, 0.3, 0.5, 0.7, 0.9), "share of patches"),
    "rician_noise": Corruption(add_rician_noise, (5.0, 10.0, 20.0, 30.0, 45.0), "greys"),
    "blur": Corruption(blur, (0.5, 1.0, 1.5, 2.5, 4.0), "px"),
    "bias_field": Corruption(add_bias_field, (1.5, 2.0, 3.0, 4.0, 6.0), "brightest to darkest"),
    "ghosting": Corruption(add_ghosts, (0.1, 0.2, 0.4, 0.6, 0.8), "depth of modulation"),
    "down_sampling": Corruption(down_sample, (1.5, 2.0, 3.0, 4.0, 6.0), "times as coarse"),
    "gamma": Corruption(bend_greys, (1.2, 1.5, 2.0, 2.5, 3.0), "exponent or its inverse"),
    "left_right_flip": Corruption(mirror, (1.0,), "mirrored"),
}


def corrupt(
    images: np.ndarray, name: str, severity: int, keys: Sequence[int | tuple[int, int]]
) -> np.ndarray:
    """Images uint8 `[K, H, W, 1]` with one thing wrong.

    Args:
      images: uint8 `[K, H, W, 1]`.
      name: one of `CORRUPTIONS`.
      severity: 0, which changes nothing, up to the number of the corruption's amounts.
      keys: `[K]`, what the accident of an image is drawn from.

    Raises:
      ValueError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"there is no corruption {name!r}: choose from {', '.join(CORRUPTIONS)}")
    corruption = CORRUPTIONS[name]
    if not 0 <= severity <= len(corruption.amounts):
        raise ValueError(
            f"{name} has no severity {severity}: choose from 0 to {len(corruption.amounts)}"
        )
    if severity == 0:
        return images
    amount = corruption.amounts[severity - 1]
    changed = [
        corruption.change(image[:, :, 0].astype(np.float64), amount, np.random.default_rng(key))
        for image, key in zip(images, keys, strict=True)
    ]
    return np.clip(np.rint(np.stack(changed)), 0, 255).astype(np.uint8)[..., None]
