"""Supervised contrast and its gradients as sums over blocks of pairings.

In the letters of `sup_con.py`, with β = 1/τ, z as rows and y as keys, which are the same vectors,
and S_ik = β z_i·y_k for k ≠ i of a known class, a row needs

    a_i = logsumexp_k S_ik      n_i = |P(i)|      loss_i = a_i - Σ_{k ∈ P(i)} S_ik / n_i

of one walk over the blocks; the loss of a row without a positive is 0. Then, with

    g_ik = [n_i > 0] exp(S_ik - a_i) - [k ∈ P(i)] / n_i,

dz_i = β Σ_k g_ik y_k of the vector as a row and dy_i = β Σ_k g_ki z_k of it as a key, both sums
at the row. FLOPs in units of N² E: forward 2, backward 6.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.block_logits import MASKED
from lumbarclip_jax.losses.blockwise import Pairs
from lumbarclip_jax.losses.online import OfGroup, OnlineSoftmax
from lumbarclip_jax.losses.similarity import product, similarity


class Statistics(NamedTuple):
    """The numbers of each row."""

    a: Float[Array, "N"]
    n: Float[Array, "N"]


@dataclasses.dataclass(frozen=True)
class SupCon:
    """The sum of the loss over rows, an objective for `blockwise.streamed`; its scalar is β.

    Texts of a pair are z and images y.
    """

    def forward(self, exchange, pairs: Pairs, extra_texts, scalars):
        (beta,) = scalars

        def fold(carry, rows: Pairs, keys: Pairs):
            softmax, positives = carry
            S = _logits(rows, keys, beta)
            return softmax.add(S), positives.add(_positives(rows, keys), S)

        keys, count = exchange.share(pairs), len(pairs.number)
        start = (OnlineSoftmax.of_nothing(count), OfGroup.of_nothing(count))
        softmax, positives = exchange.sweep(fold, start, pairs, keys)
        a, n = softmax.logsumexp(), positives.count
        losses = jnp.where(n > 0, a - positives.total / jnp.maximum(n, 1), 0.0)
        return exchange.total(jnp.sum(losses)), keys, Statistics(a, n)

    def backward(self, exchange, pairs: Pairs, extra_texts, keys, statistics, scalars, cotangent):
        (beta,) = scalars

        def fold(gradients, rows, keys):
            dy, dz, dbeta = gradients
            (rows, i), (keys, k) = rows, keys
            i = jax.tree.map(lambda leaf: leaf[:, None], i)
            k = jax.tree.map(lambda leaf: leaf[None, :], k)
            # z and y are the same vectors, so S_ki = S_ik but for whose class must be known.
            S = _logits(rows, keys, beta)
            positives = _positives(rows, keys)
            g_ik = _gradient(S, positives, i)
            g_ki = _gradient(S, positives, k)
            dz += product(cotangent * beta * g_ik, keys.image_embeds)
            dy += product(cotangent * beta * g_ki, keys.text_embeds)
            similarities = jnp.where(S > MASKED, S, 0.0) / beta
            dbeta += cotangent * jnp.sum(g_ik * similarities, axis=1)
            return dy, dz, dbeta

        zeros = jnp.zeros(pairs.image_embeds.shape, jnp.float32)
        dy, dz, dbeta = exchange.sweep(
            fold,
            (zeros, zeros, zeros[:, 0]),
            (pairs, statistics),
            (keys, exchange.share(statistics)),
        )
        return dy, dz, None, exchange.total((jnp.sum(dbeta),))


def _is_known(pairs: Pairs) -> Array:
    assert pairs.constants.groups is not None, "supervised contrast needs classes"
    return pairs.constants.groups >= 0


def _logits(rows: Pairs, keys: Pairs, beta) -> Array:
    """S of rows and keys, MASKED where it is not in the sum of a."""
    known = _is_known(rows)[:, None] & _is_known(keys)[None, :]
    counts = keys.is_real() & ~rows.matches(keys) & known
    return jnp.where(counts, beta * similarity(rows.text_embeds, keys.image_embeds), MASKED)


def _positives(rows: Pairs, keys: Pairs) -> Array:
    return rows.are_equal(keys) & ~rows.matches(keys) & _is_known(rows)[:, None]


def _gradient(S: Array, positives: Array, of: Statistics) -> Array:
    shares = jnp.where(of.n > 0, jnp.exp(S - of.a), 0.0)
    return shares - jnp.where(positives, 1 / jnp.maximum(of.n, 1), 0.0)
