"""Class weights from class counts."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def uniform(counts: Float[Array, "K"]) -> Float[Array, "K"]:
    """Every class counts the same."""
    return jnp.ones_like(counts)


def effective_number(counts: Float[Array, "K"], *, beta: float) -> Float[Array, "K"]:
    """Weights inverse to the effective number of samples, of mean 1 over the classes that occur.

    w_c ~ (1 - beta) / (1 - beta^n_c), Cui et al. 2019 (arXiv 1901.05555), equation 2. The effective
    number of a class grows with n_c up to 1 / (1 - beta). With the paper's beta = 0.9999 that is
    10,000, so for classes of some hundreds the weights are 1 / n_c to within 2 %. With 0.99 it is
    100, and classes much larger than that are weighted alike. A class that does not occur weighs 0.
    """
    # 1 - beta^n by expm1: in float32 the difference would keep three digits where n is small.
    weights = (1 - beta) / -jnp.expm1(jnp.maximum(counts, 1) * math.log(beta))
    weights = jnp.where(counts > 0, weights, 0.0)
    return weights * (counts > 0).sum() / weights.sum()
