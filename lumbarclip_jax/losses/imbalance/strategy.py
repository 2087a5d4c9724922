"""What a strategy is, and the registry of those there are."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses.imbalance import mixing, weighting
from lumbarclip_jax.losses.imbalance.losses import COSINE_SCALE, cross_entropy, focal, ldam
from lumbarclip_jax.losses.imbalance.mixing import (
    MixedLabels,
    Mixture,
    alone,
    mamix,
    mixup,
    remix,
)

# Deferred weights set in after this part of training: epoch 160 of 200 in the papers.
DEFERRED_UNTIL = 0.8

# The papers' beta. In cohorts of hundreds of patients it gives 1 / n.
class_balanced = functools.partial(weighting.effective_number, beta=0.9999)
effective_number = functools.partial(weighting.effective_number, beta=0.99)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """How to learn from classes of unequal size."""

    rule: Callable[..., mixing.Weights] = alone  # of mixing
    weights: Callable[..., Float[Array, "K"]] = weighting.uniform
    deferred: bool = False  # weights are 1 until DEFERRED_UNTIL of training
    loss: Callable[..., Float[Array, "B"]] = cross_entropy

    @property
    def mixes(self) -> bool:
        """Whether images are blended."""
        return self.rule is not alone

    @property
    def cosine_scale(self) -> float | None:
        """Where logits must be this times cosines of features and class vectors, else None."""
        return COSINE_SCALE if self.loss is ldam else None

    def mix(self, key: jax.Array, labels: Int[Array, "B"], counts: Float[Array, "K"]) -> Mixture:
        """Draws what a batch is blended with."""
        return mixing.draw(key, labels, counts, self.rule)

    def class_weights(
        self, counts: Float[Array, "K"], progress: Float[Array, ""] | float
    ) -> Float[Array, "K"]:
        """What each class counts after a part `progress`, 0 to 1, of training.

        Deferred re-weighting: Cao et al. 2019 (arXiv 1906.07413), algorithm 1. Features are learnt
        from what is there, and only the boundary is moved, at the small rates of the end.
        """
        weights = self.weights(counts)
        if not self.deferred:
            return weights
        return jnp.where(progress < DEFERRED_UNTIL, jnp.ones_like(weights), weights)

    def losses(
        self,
        logits: Float[Array, "B K"],
        labels: MixedLabels,
        counts: Float[Array, "K"],
        progress: Float[Array, ""] | float = 1.0,
    ) -> Float[Array, "B"]:
        """The loss of each blend: of its own label and its partner's, in the labels' weights.

        A label below 0 is unknown, and its part of the loss is 0.
        """
        weights = self.class_weights(counts, progress)

        def of(labels: Int[Array, "B"]) -> Float[Array, "B"]:
            loss = weights[labels] * self.loss(logits, labels, counts)
            return jnp.where(labels < 0, 0.0, loss)

        return labels.sum_of(of(labels.own), of(labels.partner))


STRATEGIES: dict[str, Strategy] = {
    "erm": Strategy(),
    "class_balanced": Strategy(weights=class_balanced),
    "effective_number": Strategy(weights=effective_number),
    "drw": Strategy(weights=class_balanced, deferred=True),
    "focal": Strategy(loss=focal),
    "ldam": Strategy(loss=ldam),
    "ldam_drw": Strategy(loss=ldam, weights=class_balanced, deferred=True),
    "mixup": Strategy(rule=mixup),
    "mixup_drw": Strategy(rule=mixup, weights=class_balanced, deferred=True),
    "remix": Strategy(rule=remix),
    "remix_drw": Strategy(rule=remix, weights=class_balanced, deferred=True),
    "mamix": Strategy(rule=mamix),
    "mamix_drw": Strategy(rule=mamix, weights=class_balanced, deferred=True),
}
