"""What a walk over blocks of keys carries for each row, one block added after another."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class OnlineSoftmax(NamedTuple):
    """Running log-sum-exp of rows, as two numbers so that many blocks cost no precision."""

    peak: Float[Array, "B"]
    mass: Float[Array, "B"]

    @classmethod
    def of_nothing(cls, rows: int) -> "OnlineSoftmax":
        return cls(jnp.full(rows, -jnp.inf, jnp.float32), jnp.zeros(rows, jnp.float32))

    def add(self, logits: Float[Array, "B K"]) -> "OnlineSoftmax":
        peak = jnp.maximum(self.peak, jnp.max(logits, axis=1))
        mass = self.mass * jnp.exp(self.peak - peak)
        return OnlineSoftmax(peak, mass + jnp.sum(jnp.exp(logits - peak[:, None]), axis=1))

    def logsumexp(self) -> Float[Array, "B"]:
        return self.peak + jnp.log(self.mass)


class OnlineMean(NamedTuple):
    """Running mean of values by the softmax of logits: attention whose values are numbers."""

    weights: OnlineSoftmax
    total: Float[Array, "B"]

    @classmethod
    def of_nothing(cls, rows: int) -> "OnlineMean":
        return cls(OnlineSoftmax.of_nothing(rows), jnp.zeros(rows, jnp.float32))

    def add(self, logits: Float[Array, "B K"], values: Float[Array, "B K"]) -> "OnlineMean":
        weights = self.weights.add(logits)
        total = self.total * jnp.exp(self.weights.peak - weights.peak)
        total += jnp.sum(jnp.exp(logits - weights.peak[:, None]) * values, axis=1)
        return OnlineMean(weights, total)

    def mean(self) -> Float[Array, "B"]:
        return self.total / self.weights.mass


class OfGroup(NamedTuple):
    """Running sum of values over the keys of a row's own group, and their number."""

    total: Float[Array, "B"]
    count: Float[Array, "B"]

    @classmethod
    def of_nothing(cls, rows: int) -> "OfGroup":
        return cls(jnp.zeros(rows, jnp.float32), jnp.zeros(rows, jnp.float32))

    def add(self, equal: Bool[Array, "B K"], values: Float[Array, "B K"]) -> "OfGroup":
        total = self.total + jnp.sum(jnp.where(equal, values, 0.0), axis=1)
        return OfGroup(total, self.count + jnp.sum(equal, axis=1))
