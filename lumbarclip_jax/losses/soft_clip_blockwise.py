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

Two things may be given besides the embeddings. Groups g make hard targets H_ik = [g_i = g_k] / n_i
of one-hot ones, which adds two numbers a row, both of the first walk, and subtracts
h Σ_k H_ik V_ik from the loss; H is symmetric. A likeness of constant features f of images and t of
texts has two kinds of targets instead of one,

    A_ik = β t_i·f_k of a text i,  with a_i      B_ik = β f_i·t_k = A_ki of an image i,  with b_i,

credited with L_ik - x_i and M_ik - x_i; then, with P of texts and Q of images,

    D_ik = P_ik + Q_ki for L_ik      D'_ik = Q_ik + P_ki for M_ik,

of which the rest of this page is the case P = Q. Nothing is differentiated by A or B.

FLOPs in units of B² E: forward 8 (12 transposed), backward 16 (12 detached). With h = 1 nothing of
A exists: plain CLIP, 4 forward and 8 backward.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.blockwise import Pairs
from lumbarclip_jax.losses.online import OfGroup, OnlineMean, OnlineSoftmax
from lumbarclip_jax.losses.similarity import product, similarity, similarity_of_pairs

# Stands for minus infinity at padded keys: its exp is exactly 0, and 0 times it is 0, not NaN.
MASKED = -1e30


class Scales(NamedTuple):
    """The scalars of the loss that have gradients."""

    logit_scale: Float[Array, ""]
    target_scale: Float[Array, ""]


class Sums(NamedTuple):
    """What the first walk carries for each row."""

    text: OnlineSoftmax
    image: OnlineSoftmax
    soft: tuple[OnlineMean, ...]  # of credits: none when h = 1, of texts and images by a likeness
    hard: OfGroup | None  # of credits, where there are groups


class Statistics(NamedTuple):
    """The numbers of each row; `a` holds those of `Sums.soft`, u is None when h = 1."""

    r: Float[Array, "B"]
    c: Float[Array, "B"]
    w: Float[Array, "B"]
    a: tuple[Float[Array, "B"], ...]
    u: Float[Array, "B"] | None
    n: Float[Array, "B"] | None  # rows of the own group, where there are groups


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
            soft, hard = sums.soft, sums.hard
            if self._is_soft:
                A = _target_logits(rows, keys, scales)
                credits = (self._credits(L, M)[0],) if len(A) == 1 else (L.from_row, M.from_row)
                soft = tuple(
                    mean.add(logits.from_row, values)
                    for mean, logits, values in zip(soft, A, credits, strict=True)
                )
            if hard is not None:
                hard = hard.add(rows.are_equal(keys), self._credits(L, M)[0])
            return Sums(sums.text.add(L.from_row), sums.image.add(M.from_row), soft, hard)

        keys = exchange.share(pairs)
        count, constants = len(pairs.number), pairs.constants
        nothing = OnlineSoftmax.of_nothing(count)
        kinds = (1 if constants.likeness is None else 2) if self._is_soft else 0
        hard = None if constants.groups is None else OfGroup.of_nothing(count)
        start = Sums(nothing, nothing, (OnlineMean.of_nothing(count),) * kinds, hard)
        sums = exchange.sweep(fold, start, pairs, keys)

        r, c = sums.text.logsumexp(), sums.image.logsumexp()
        statistics = Statistics(r, c, jnp.ones_like(r), (), None, None)
        if self._is_soft:
            expected = sum((mean.mean() for mean in sums.soft), start=jnp.zeros_like(r))
            a = tuple(mean.weights.logsumexp() for mean in sums.soft)
            statistics = statistics._replace(a=a, u=-expected)
            if not self._by_row:
                statistics = self._second_walk(exchange, pairs, keys, statistics, scales)
        loss = r + statistics.w * c
        if self._is_soft:
            loss -= (1.0 - self.hard_weight) * expected
        if sums.hard is not None:
            statistics = statistics._replace(n=sums.hard.count)
            loss -= self.hard_weight * sums.hard.total / sums.hard.count
        return exchange.total(jnp.sum(loss)), keys, statistics

    def _second_walk(self, exchange, pairs: Pairs, keys, statistics: Statistics, scales: Scales):
        """The statistics with w, and u with its term in q, of transposed targets."""

        def fold(carry, rows, keys):
            mass, u = carry
            (rows, a_i), (keys, a_k, c_k) = rows, keys
            (A,) = _target_logits(rows, keys, scales)
            mass += jnp.sum(jnp.exp(A.from_key - a_k[None, :]), axis=1)
            u += jnp.sum(jnp.exp(A.from_row - a_i[:, None]) * c_k[None, :], axis=1)
            return mass, u

        mass, u = exchange.sweep(
            fold,
            (jnp.zeros_like(statistics.r), statistics.u),
            (pairs, *statistics.a),
            (keys, *exchange.share((*statistics.a, statistics.c))),
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
            # Of text i and image k, and back; of a text the letter is P, of an image Q.
            P_ik = P_ki = self.hard_weight * rows.are_equal(keys)
            if i.n is not None:
                P_ik = P_ki = P_ik / i.n  # rows of one group have one n
            Q_ik, Q_ki = P_ik, P_ki
            if self._is_soft:
                kinds = _target_logits(rows, keys, scales)
                (A, B), (a_i, b_i), (a_k, b_k) = map(_both, (kinds, i.a, k.a))
                p_ik, q_ik = jnp.exp(A.from_row - a_i), jnp.exp(B.from_row - b_i)
                p_ki, q_ki = jnp.exp(B.from_key - a_k), jnp.exp(A.from_key - b_k)
                P_ik, P_ki = P_ik + soft_weight * p_ik, P_ki + soft_weight * p_ki
                Q_ik, Q_ki = Q_ik + soft_weight * q_ik, Q_ki + soft_weight * q_ki
            if self._by_row:
                D_ik, D_ki = P_ik + Q_ki, Q_ik + P_ki
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


def _both(kinds: tuple) -> tuple:
    """What is of texts and what is of images, which may be one."""
    return kinds if len(kinds) == 2 else kinds * 2


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


def _target_logits(rows: Pairs, keys: Pairs, scales: Scales) -> tuple[Logits, ...]:
    """A, and of a likeness of constant features B as well."""
    of_rows, of_keys = rows.constants.likeness, keys.constants.likeness
    if of_rows is None or of_keys is None:
        own_of_rows, own_of_keys = (
            similarity_of_pairs(pairs.image_embeds, pairs.image_embeds)
            + similarity_of_pairs(pairs.text_embeds, pairs.text_embeds)
            for pairs in (rows, keys)
        )
        likeness = similarity(rows.image_embeds, keys.image_embeds)
        likeness += similarity(rows.text_embeds, keys.text_embeds)
        scale = scales.target_scale / 2
        return (_scale_and_mask(scale, likeness, own_of_rows, own_of_keys, rows, keys),)
    (images, texts), (images_of_keys, texts_of_keys) = of_rows, of_keys
    own_of_rows, own_of_keys = similarity_of_pairs(*of_rows), similarity_of_pairs(*of_keys)
    return tuple(
        _scale_and_mask(scales.target_scale, likeness, own_of_rows, own_of_keys, rows, keys)
        for likeness in (similarity(texts, images_of_keys), similarity(images, texts_of_keys))
    )


def _scale_and_mask(scale, similarities, own_of_rows, own_of_keys, rows, keys) -> Logits:
    def logits(excess):
        # A pair's own logit is its reference: exactly 0, whatever the matrix product rounded to.
        logits = jnp.where(rows.matches(keys), 0.0, scale * excess)
        return jnp.where(keys.is_real(), logits, MASKED)

    excess = similarities - own_of_rows[:, None]
    return Logits(similarities, excess, logits(excess), logits(similarities - own_of_keys[None, :]))
