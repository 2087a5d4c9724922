"""The soft CLIP loss and its gradients as sums over blocks of pairings.

The notation is that of `soft_clip.py`, with α = exp(logit_scale), β = target_scale, h = hard_weight
and p = softmax_row(A); the code below uses the same letters. For a row i and a key k both

    L_ik = α T_i·I_k  and  M_ik = α I_i·T_k = L_ki

are computed where the row is; A_ik = A_ki. Let V = L + M for row targets and V = 2 L for transposed
ones, so that P·V is what both directions are credited with. Each row needs five numbers:

    r_i = logsumexp_k L_ik      c_i = logsumexp_k M_ik      a_i = logsumexp_k A_ik
    w_i = 1 for row targets;  h + (1 - h) Σ_k exp(A_ik - a_k) for transposed ones
    u_i = Σ_k p_ik (q_k - V_ik),  q = 0 for row targets;  q = c for transposed ones

(w is the mass of image i's targets, a column of P when they are transposed.) Then

    2B loss = Σ_i [ r_i + w_i c_i - h V_ii - (1 - h) Σ_k p_ik V_ik ].

One walk over the blocks gives r, c, a and Σ_k p_ik V_ik: online softmaxes, the last one that of an
attention whose values are the logits. Transposed targets need a second walk, because w and u ask
for a_k and c_k of every key. Differentiating 2B loss by L_ik, and by L_ki = M_ik:

    gL_ik = exp(L_ik - r_i) + w_k exp(L_ik - c_k) - D_ik
    gM_ik = exp(M_ik - r_k) + w_i exp(M_ik - c_i) - D_ki
    D_ik  = P_ik + P_ki for row targets;  2 P_ik for transposed ones

and, unless the targets are detached, by A_ik and A_ki together:

    gA_ik = (1 - h) [ p_ik (q_k - V_ik - u_i) + p_ki (q_i - V_ki - u_k) ].

The gradients of row i are sums over keys of what the row and the five numbers of a key determine:

    dT_i = Σ_k α gL_ik I_k + β/2 gA_ik T_k
    dI_i = Σ_k α gM_ik T_k + β/2 gA_ik I_k
    dlogit_scale  = Σ_ik gL_ik L_ik
    dtarget_scale = 1/2 Σ_ik (1 - h) p_ik (q_k - V_ik - u_i) (S_ik - S_ii),  S = I Iᵀ + T Tᵀ.

S_ii multiplies a sum over k that is zero: it is there for the digits it saves when p is sharp.

FLOPs in units of B² E: forward 8 (12 transposed), backward 16 (12 detached). With h = 1 nothing of
A exists: plain CLIP, 4 forward and 8 backward.
"""

import dataclasses
from typing import NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.blockwise import Pairs
from lumbarclip_jax.losses.similarity import product, similarity

# Stands for minus infinity at padded keys: its exp is exactly 0, and 0 times it is 0, not NaN.
MASKED = -1e30


class Scales(NamedTuple):
    """The scalars of the loss that have gradients."""

    logit_scale: Float[Array, ""]
    target_scale: Float[Array, ""]


class OnlineSoftmax(NamedTuple):
    """Running log-sum-exp of rows, as two numbers so that many blocks cost no precision."""

    peak: Float[Array, "B"]
    mass: Float[Array, "B"]

    @classmethod
    def of_nothing(cls, rows: int) -> Self:
        return cls(jnp.full(rows, -jnp.inf), jnp.zeros(rows))

    def add(self, logits: Float[Array, "B K"]) -> Self:
        peak = jnp.maximum(self.peak, jnp.max(logits, axis=1))
        mass = self.mass * jnp.exp(self.peak - peak)
        return OnlineSoftmax(peak, mass + jnp.sum(jnp.exp(logits - peak[:, None]), axis=1))

    def logsumexp(self) -> Float[Array, "B"]:
        return self.peak + jnp.log(self.mass)


class Sums(NamedTuple):
    """What the first walk carries for each row; the last two are None when h = 1."""

    text: OnlineSoftmax  # of L
    image: OnlineSoftmax  # of M
    match: Float[Array, "B"]  # V_ii
    target: OnlineSoftmax | None  # of A
    credit: Float[Array, "B"] | None  # Σ_k exp(A_ik - target.peak_i) V_ik


class Statistics(NamedTuple):
    """The five numbers of each row; a and u are None when h = 1."""

    r: Float[Array, "B"]
    c: Float[Array, "B"]
    w: Float[Array, "B"]
    a: Float[Array, "B"] | None
    u: Float[Array, "B"] | None


@dataclasses.dataclass(frozen=True)
class SoftClip:
    """2B times the loss, an objective for `blockwise.streamed`; its scalars are `Scales`."""

    targets: str
    detach_targets: bool
    hard_weight: float

    def forward(self, exchange, pairs: Pairs, scales: Scales):
        def fold(sums: Sums, rows: Pairs, keys: Pairs) -> Sums:
            L, M = _logits(rows, keys, scales)
            target, credit = sums.target, sums.credit
            if self._is_soft:
                A = _target_logits(keys, _likeness(rows, keys), scales)
                target = target.add(A)
                credit *= jnp.exp(sums.target.peak - target.peak)
                credit += jnp.sum(jnp.exp(A - target.peak[:, None]) * self._V(L, M), axis=1)
            match = sums.match + 2 * jnp.sum(rows.matches(keys) * L, axis=1)
            return Sums(sums.text.add(L), sums.image.add(M), match, target, credit)

        keys = exchange.share(pairs)
        zeros = jnp.zeros(len(pairs.number))
        nothing = OnlineSoftmax.of_nothing(len(zeros))
        start = Sums(nothing, nothing, zeros, nothing, zeros)
        if not self._is_soft:
            start = start._replace(target=None, credit=None)
        sums = exchange.sweep(fold, start, pairs, keys)

        statistics = Statistics(
            sums.text.logsumexp(), sums.image.logsumexp(), jnp.ones_like(zeros), None, None
        )
        expected = sums.match
        if self._is_soft:
            mean = sums.credit / sums.target.mass
            expected = self.hard_weight * sums.match + (1.0 - self.hard_weight) * mean
            statistics = statistics._replace(a=sums.target.logsumexp(), u=-mean)
            if self.targets == "transposed":
                statistics = self._second_walk(exchange, pairs, keys, statistics, scales)
        loss = statistics.r + statistics.w * statistics.c - expected
        return exchange.total(jnp.sum(loss)), keys, statistics

    def _second_walk(self, exchange, pairs: Pairs, keys, statistics: Statistics, scales: Scales):
        """The statistics with w, and u with its term in q, of transposed targets."""

        def fold(carry, rows, keys):
            mass, u = carry
            (rows, a_i), (keys, a_k, c_k) = rows, keys
            A = _target_logits(keys, _likeness(rows, keys), scales)
            mass += jnp.sum(jnp.exp(A - a_k[None, :]), axis=1)
            u += jnp.sum(jnp.exp(A - a_i[:, None]) * c_k[None, :], axis=1)
            return mass, u

        mass, u = exchange.sweep(
            fold,
            (jnp.zeros_like(statistics.u), statistics.u),
            (pairs, statistics.a),
            (keys, *exchange.share((statistics.a, statistics.c))),
        )
        return statistics._replace(w=self.hard_weight + (1.0 - self.hard_weight) * mass, u=u)

    def backward(self, exchange, pairs: Pairs, keys, statistics, scales: Scales, cotangent):
        alpha, beta = jnp.exp(scales.logit_scale), scales.target_scale

        def fold(gradients, rows, keys):
            dI, dT, dlogit_scale, dtarget_scale = gradients
            (rows, i), (keys, k) = rows, keys
            i = jax.tree.map(lambda leaf: leaf[:, None], i)
            k = jax.tree.map(lambda leaf: leaf[None, :], k)
            L, M = _logits(rows, keys, scales)
            P_ik = P_ki = rows.matches(keys)
            if self._is_soft:
                likeness = _likeness(rows, keys)
                A = _target_logits(keys, likeness, scales)
                p_ik, p_ki = jnp.exp(A - i.a), jnp.exp(A - k.a)
                P_ik = self.hard_weight * P_ik + (1.0 - self.hard_weight) * p_ik
                P_ki = self.hard_weight * P_ki + (1.0 - self.hard_weight) * p_ki
            both_ways = P_ik + P_ki
            D_ik, D_ki = (both_ways, both_ways) if self._by_row else (2 * P_ik, 2 * P_ki)

            gL = jnp.exp(L - i.r) + k.w * jnp.exp(L - k.c) - D_ik
            gM = jnp.exp(M - k.r) + i.w * jnp.exp(M - i.c) - D_ki
            dT += product(cotangent * alpha * gL, keys.image_embeds)
            dI += product(cotangent * alpha * gM, keys.text_embeds)
            dlogit_scale += jnp.sum(gL * L, axis=1)
            if self._is_soft and not self.detach_targets:
                q_i, q_k = (0.0, 0.0) if self._by_row else (i.c, k.c)
                there = (1.0 - self.hard_weight) * p_ik * (q_k - self._V(L, M) - i.u)
                back = (1.0 - self.hard_weight) * p_ki * (q_i - self._V(M, L) - k.u)
                gA = there + back
                dT += product(cotangent * beta / 2 * gA, keys.text_embeds)
                dI += product(cotangent * beta / 2 * gA, keys.image_embeds)
                dtarget_scale += jnp.sum(there * (likeness - _own_likeness(rows)), axis=1) / 2
            return dI, dT, dlogit_scale, dtarget_scale

        zeros, no_gradient = jnp.zeros(len(pairs.number)), jnp.zeros(pairs.image_embeds.shape)
        dI, dT, *scale_gradients = exchange.sweep(
            fold,
            (no_gradient, no_gradient, zeros, zeros),
            (pairs, statistics),
            (keys, exchange.share(statistics)),
        )
        scale_gradients = Scales(*(cotangent * jnp.sum(leaf) for leaf in scale_gradients))
        return dI, dT, exchange.total(scale_gradients)

    @property
    def _is_soft(self) -> bool:
        return self.hard_weight < 1.0

    @property
    def _by_row(self) -> bool:
        return self.targets == "row"

    def _V(self, L, M):
        """V_ik of L_ik and M_ik; with the two exchanged, V_ki."""
        return L + (M if self._by_row else L)


def _logits(rows: Pairs, keys: Pairs, scales: Scales):
    """L and M."""
    alpha = jnp.exp(scales.logit_scale)
    L = alpha * similarity(rows.text_embeds, keys.image_embeds)
    M = alpha * similarity(rows.image_embeds, keys.text_embeds)
    return jnp.where(keys.is_real(), L, MASKED), jnp.where(keys.is_real(), M, MASKED)


def _likeness(rows: Pairs, keys: Pairs):
    """S: how alike the images and the texts are."""
    images = similarity(rows.image_embeds, keys.image_embeds)
    return images + similarity(rows.text_embeds, keys.text_embeds)


def _own_likeness(rows: Pairs):
    """[R, 1]: S_ii."""
    return sum(
        jnp.sum(jnp.square(embeds.astype(jnp.float32)), axis=1, keepdims=True)
        for embeds in (rows.image_embeds, rows.text_embeds)
    )


def _target_logits(keys: Pairs, likeness, scales: Scales):
    """A."""
    return jnp.where(keys.is_real(), scales.target_scale / 2 * likeness, MASKED)
