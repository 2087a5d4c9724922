"""Blending pairs of images, and what label the blend has.

A rule maps (share [], own count [B], partner's count [B]) to the own weight in the image [B] and in
the label [B]; the partner has the rest of both. The counts are those of the classes of an image and
of its partner. `share` is drawn once a batch from Beta(1, 1), the own weight in the image, as in
mixup (Zhang et al. 2018, arXiv 1710.09412) and the public code of the other two.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Weights = tuple[Float[Array, "B"], Float[Array, "B"]]

REMIX_RATIO = 3.0  # K of the paper: from this ratio of counts on, a class is the other's majority
REMIX_SHARE = 0.5  # tau of the paper: below this share of the image a majority is not in the label


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["partner", "image_weight", "label_weight"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Mixture:
    """Which image of a batch of B is blended with which, and how much of itself it keeps."""

    partner: Int[Array, "B"]
    image_weight: Float[Array, "B"]
    label_weight: Float[Array, "B"]

    def blend(self, inputs: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Images, or whatever else the classifier is given, in the weights of the images."""
        weight = self.image_weight.reshape(-1, *(1,) * (inputs.ndim - 1))
        return weight * inputs + (1 - weight) * inputs[self.partner]

    def labels(self, labels: Int[Array, "B"]) -> "MixedLabels":
        """Those of the blends, of the labels of the images that are blended."""
        return MixedLabels(labels, labels[self.partner], self.label_weight)


class MixedLabels(NamedTuple):
    """The labels of a batch of blends; below 0 is unknown."""

    own: Int[Array, "B"]
    partner: Int[Array, "B"]
    own_weight: Float[Array, "B"]

    @classmethod
    def alone(cls, labels: Int[Array, "B"]) -> "MixedLabels":
        """Of images that are not blended."""
        return cls(labels, labels, jnp.ones(len(labels)))

    def known(self) -> Float[Array, "B"]:
        """The part of each blend whose label is known, 0 to 1."""
        return self.sum_of(jnp.where(self.own < 0, 0.0, 1.0), jnp.where(self.partner < 0, 0.0, 1.0))

    def sum_of(self, own: Float[Array, "B"], partner: Float[Array, "B"]) -> Float[Array, "B"]:
        """What is of either label, in the labels' weights."""
        return self.own_weight * own + (1 - self.own_weight) * partner


def alone(share: Float[Array, ""], own: Float[Array, "B"], other: Float[Array, "B"]) -> Weights:
    """No mixing."""
    return jnp.ones_like(own), jnp.ones_like(own)


def mixup(share: Float[Array, ""], own: Float[Array, "B"], other: Float[Array, "B"]) -> Weights:
    """The label is mixed as the image is: Zhang et al. 2018 (arXiv 1710.09412), equation 1."""
    weight = jnp.full_like(own, share)
    return weight, weight


def remix(share: Float[Array, ""], own: Float[Array, "B"], other: Float[Array, "B"]) -> Weights:
    """A blend of a majority and a minority class may be all minority in its label.

    Chou et al. 2020 (arXiv 2007.03943), equation 3: the own label weighs 0 if own / other >= K and
    share < tau, 1 if own / other <= 1 / K and 1 - share < tau, else `share`; K = 3, tau = 0.5.
    """
    image, label = mixup(share, own, other)
    label = jnp.where((own >= REMIX_RATIO * other) & (image < REMIX_SHARE), 0.0, label)
    return image, jnp.where((REMIX_RATIO * own <= other) & (1 - image < REMIX_SHARE), 1.0, label)


def mamix(share: Float[Array, ""], own: Float[Array, "B"], other: Float[Array, "B"]) -> Weights:
    """Margin-aware mixup: a blend is half and half nearer to the class with the smaller margin.

    Cheng et al. 2023 (arXiv 2308.15457). Margins go with n^-1/4 (LDAM), so the decision boundary of
    two classes lies at the partner's share t = own^-1/4 / (own^-1/4 + other^-1/4). There the label
    is one half of each; between there and either end it is linear. For own = 5000 and other = 50,
    t = 0.24: the minority owns the label from 24 % of the image on. Equal counts give mixup.
    """
    image, _ = mixup(share, own, other)
    margin, other_margin = own**-0.25, other**-0.25
    turn, partner = margin / (margin + other_margin), 1 - image
    near, far = 1 - partner / (2 * turn), image / (2 * (1 - turn))
    return image, jnp.where(partner <= turn, near, far)


def draw(key: jax.Array, labels: Int[Array, "B"], counts: Float[Array, "K"], rule) -> Mixture:
    """Draws a share and a partner for every image, possibly itself, and applies the rule."""
    share_key, partner_key = jax.random.split(key)
    partner = jax.random.permutation(partner_key, len(labels))
    # Beside an unknown label the other is as common as itself.
    known = jnp.where(labels < 0, 0.0, counts[labels])
    own = jnp.where(known > 0, known, known[partner])
    other = jnp.where(known[partner] > 0, known[partner], known)
    own, other = jnp.maximum(own, 1.0), jnp.maximum(other, 1.0)
    return Mixture(partner, *rule(jax.random.uniform(share_key), own, other))
