"""The soft CLIP loss and its gradients as sums over blocks of pairings.

The notation is that of `soft_clip.py`, with α = exp(logit_scale), β = target_scale, M = Lᵀ,
h = hard_weight, p = softmax_row(A) and S = I Iᵀ + T Tᵀ; the code uses the same letters. All logits
of a row i and a key k are computed where the row is:

    L_ik = α T_i·I_k      M_ik = α I_i·T_k = L_ki      A_ik = β/2 S_ik = A_ki

Softmaxes do not change when a constant is taken from a row, so each is counted from the pair's own
logit, x_i = L_ii = M_ii: then r below is the cross-entropy of text i with its own image, c that of
the image, and the loss of a sharp, well-trained model is not a difference of large numbers. Let

    V_ik = (L_ik - x_i) + (M_ik - x_i) for row targets
    V_ik = (L_ik - x_i) + (L_ik - x_k) for transposed ones

be what a target P_ik is credited with in both directions; V_ii = 0. A row needs five numbers:

    r_i = logsumexp_k (L_ik - x_i)              c_i = logsumexp_k (M_ik - x_i)
    a_i = logsumexp_k β/2 (S_ik - S_ii)         u_i = Σ_k p_ik (q_k - V_ik)
    w_i = 1, q_i = 0                            for row targets
    w_i = h + (1 - h) Σ_k p_ki, q_i = c_i       for transposed ones

(w is the mass of image i's targets, a column of P when they are transposed), and with them

    2B loss = Σ_i [ r_i + w_i c_i - (1 - h) Σ_k p_ik V_ik ].

One walk over the blocks gives r, c, a and Σ_k p_ik V_ik: online softmaxes, the last that of an
attention whose values are V. Transposed targets need a second walk, because w and u ask for the a
and c of every key. Differentiating 2B loss by L_ik, and by L_ki = M_ik:

    gL_ik = exp(L_ik - x_i - r_i) + w_k exp(L_ik - x_k - c_k) - D_ik
    gM_ik = exp(M_ik - x_k - r_k) + w_i exp(M_ik - x_i - c_i) - D_ki
    D_ik  = P_ik + P_ki for row targets;  2 P_ik for transposed ones

and, unless the targets are detached, by A_ik and by A_ki, which are one number:

    gA_ik = G_ik + G_ki,   G_ik = (1 - h) p_ik (q_k - V_ik - u_i).

So the gradients of row i are sums over keys of what the row and five numbers of each key determine:

    dT_i = Σ_k α gL_ik I_k + β/2 gA_ik T_k      dlogit_scale  = Σ_ik gL_ik L_ik
    dI_i = Σ_k α gM_ik T_k + β/2 gA_ik I_k      dtarget_scale = 1/2 Σ_ik G_ik (S_ik - S_ii).

FLOPs in units of B² E: forward 8 (12 transposed), backward 16 (12 detached). With h = 1 nothing of
A exists: plain CLIP, 4 forward and 8 backward.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.blockwise import Pairs
from lumbarclip_jax.losses.similarity import product, similarity, similarity_of_pairs

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
    def of_nothing(cls, rows: int) -> "OnlineSoftmax":
        return cls(jnp.full(rows, -jnp.inf, jnp.float32), jnp.zeros(rows, jnp.float32))

    def add(self, logits: Float[Array, "B K"]) -> "OnlineSoftmax":
        peak = jnp.maximum(self.peak, jnp.max(logits, axis=1))
        mass = self.mass * jnp.exp(self.peak - peak)
        return OnlineSoftmax(peak, mass + jnp.sum(jnp.exp(logits - peak[:, None]), axis=1))

    def logsumexp(self) -> Float[Array, "B"]:
        return self.peak + jnp.log(self.mass)


class Sums(NamedTuple):
    """What the first walk carries for each row; the last two are None when h = 1."""

    text: OnlineSoftmax
    image: OnlineSoftmax
    target: OnlineSoftmax | None
    credit: Float[Array, "B"] | None  # of V, weighted as in `target`


class Statistics(NamedTuple):
    """The five numbers of each row; a and u are None when h = 1."""

    r: Float[Array, "B"]
    c: Float[Array, "B"]
    w: Float[Array, "B"]
    a: Float[Array, "B"] | None
    u: Float[Array, "B"] | None


class Logits(NamedTuple):
    """One kind of logits in a block, counted from the row's own logit and from the key's."""

    similarity: Float[Array, "R K"]
    excess: Float[Array, "R K"]  # similarity over the row's own: not scaled, not masked
    from_row: Float[Array, "R K"]
    from_key: Float[Array, "R K"]


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
            if target is not None and credit is not None:
                A = _target_logits(rows, keys, scales)
                before, target = target, target.add(A.from_row)
                credit *= jnp.exp(before.peak - target.peak)
                weights = jnp.exp(A.from_row - target.peak[:, None])
                credit += jnp.sum(weights * self._credits(L, M)[0], axis=1)
            return Sums(sums.text.add(L.from_row), sums.image.add(M.from_row), target, credit)

        keys = exchange.share(pairs)
        zeros = jnp.zeros(len(pairs.number), jnp.float32)
        nothing = OnlineSoftmax.of_nothing(len(zeros))
        start = Sums(nothing, nothing, nothing, zeros)
        if not self._is_soft:
            start = start._replace(target=None, credit=None)
        sums = exchange.sweep(fold, start, pairs, keys)

        r, c, w = sums.text.logsumexp(), sums.image.logsumexp(), jnp.ones_like(zeros)
        if not self._is_soft:
            return exchange.total(jnp.sum(r + c)), keys, Statistics(r, c, w, None, None)
        expected = sums.credit / sums.target.mass
        statistics = Statistics(r, c, w, sums.target.logsumexp(), -expected)
        if not self._by_row:
            statistics = self._second_walk(exchange, pairs, keys, statistics, scales)
        loss = r + statistics.w * c - (1.0 - self.hard_weight) * expected
        return exchange.total(jnp.sum(loss)), keys, statistics

    def _second_walk(self, exchange, pairs: Pairs, keys, statistics: Statistics, scales: Scales):
        """The statistics with w, and u with its term in q, of transposed targets."""

        def fold(carry, rows, keys):
            mass, u = carry
            (rows, a_i), (keys, a_k, c_k) = rows, keys
            A = _target_logits(rows, keys, scales)
            mass += jnp.sum(jnp.exp(A.from_key - a_k[None, :]), axis=1)
            u += jnp.sum(jnp.exp(A.from_row - a_i[:, None]) * c_k[None, :], axis=1)
            return mass, u

        mass, u = exchange.sweep(
            fold,
            (jnp.zeros_like(statistics.r), statistics.u),
            (pairs, statistics.a),
            (keys, *exchange.share((statistics.a, statistics.c))),
        )
        return statistics._replace(w=self.hard_weight + (1.0 - self.hard_weight) * mass, u=u)

    def backward(self, exchange, pairs: Pairs, keys, statistics, scales: Scales, cotangent):
        alpha, beta = jnp.exp(scales.logit_scale), scales.target_scale
        soft_weight = 1.0 - self.hard_weight

        def fold(gradients, rows, keys):
            dI, dT, dlogit_scale, dtarget_scale = gradients
            (rows, i), (keys, k) = rows, keys
            i = jax.tree.map(lambda leaf: leaf[:, None], i)
            k = jax.tree.map(lambda leaf: leaf[None, :], k)
            L, M = _logits(rows, keys, scales)
            P_ik = P_ki = self.hard_weight * rows.matches(keys)
            if self._is_soft:
                A = _target_logits(rows, keys, scales)
                p_ik, p_ki = jnp.exp(A.from_row - i.a), jnp.exp(A.from_key - k.a)
                P_ik, P_ki = P_ik + soft_weight * p_ik, P_ki + soft_weight * p_ki
            if self._by_row:
                D_ik = D_ki = P_ik + P_ki
            else:
                D_ik, D_ki = 2 * P_ik, 2 * P_ki

            gL = jnp.exp(L.from_row - i.r) + k.w * jnp.exp(L.from_key - k.c) - D_ik
            gM = jnp.exp(M.from_key - k.r) + i.w * jnp.exp(M.from_row - i.c) - D_ki
            dT += product(cotangent * alpha * gL, keys.image_embeds)
            dI += product(cotangent * alpha * gM, keys.text_embeds)
            dlogit_scale += cotangent * alpha * jnp.sum(gL * L.similarity, axis=1)
            if self._is_soft and not self.detach_targets:
                q_i, q_k = (0.0, 0.0) if self._by_row else (i.c, k.c)
                V_ik, V_ki = self._credits(L, M)
                G_ik = soft_weight * p_ik * (q_k - V_ik - i.u)
                G_ki = soft_weight * p_ki * (q_i - V_ki - k.u)
                gA = cotangent * (G_ik + G_ki)
                dT += product(beta / 2 * gA, keys.text_embeds)
                dI += product(beta / 2 * gA, keys.image_embeds)
                dtarget_scale += cotangent / 2 * jnp.sum(G_ik * A.excess, axis=1)
            return dI, dT, dlogit_scale, dtarget_scale

        no_gradient = jnp.zeros(pairs.image_embeds.shape, jnp.float32)
        zeros = no_gradient[:, 0]
        dI, dT, *scale_gradients = exchange.sweep(
            fold,
            (no_gradient, no_gradient, zeros, zeros),
            (pairs, statistics),
            (keys, exchange.share(statistics)),
        )
        return dI, dT, exchange.total(Scales(*map(jnp.sum, scale_gradients)))

    @property
    def _is_soft(self) -> bool:
        return self.hard_weight < 1.0

    @property
    def _by_row(self) -> bool:
        return self.targets == "row"

    def _credits(self, L: Logits, M: Logits):
        """V_ik and V_ki."""
        if self._by_row:
            return L.from_row + M.from_row, M.from_key + L.from_key
        return L.from_row + L.from_key, M.from_key + M.from_row


def _logits(rows: Pairs, keys: Pairs, scales: Scales) -> tuple[Logits, Logits]:
    """L and M."""
    own_of_rows, own_of_keys = (
        similarity_of_pairs(pairs.text_embeds, pairs.image_embeds) for pairs in (rows, keys)
    )
    L, M = (
        _scale_and_mask(
            jnp.exp(scales.logit_scale), similarities, own_of_rows, own_of_keys, rows, keys
        )
        for similarities in (
            similarity(rows.text_embeds, keys.image_embeds),
            similarity(rows.image_embeds, keys.text_embeds),
        )
    )
    return L, M


def _target_logits(rows: Pairs, keys: Pairs, scales: Scales) -> Logits:
    """A."""
    own_of_rows, own_of_keys = (
        similarity_of_pairs(pairs.image_embeds, pairs.image_embeds)
        + similarity_of_pairs(pairs.text_embeds, pairs.text_embeds)
        for pairs in (rows, keys)
    )
    likeness = similarity(rows.image_embeds, keys.image_embeds)
    likeness += similarity(rows.text_embeds, keys.text_embeds)
    return _scale_and_mask(scales.target_scale / 2, likeness, own_of_rows, own_of_keys, rows, keys)


def _scale_and_mask(scale, similarities, own_of_rows, own_of_keys, rows, keys) -> Logits:
    def logits(excess):
        # A pair's own logit is its reference: exactly 0, whatever the matrix product rounded to.
        logits = jnp.where(rows.matches(keys), 0.0, scale * excess)
        return jnp.where(keys.is_real(), logits, MASKED)

    excess = similarities - own_of_rows[:, None]
    return Logits(similarities, excess, logits(excess), logits(similarities - own_of_keys[None, :]))
