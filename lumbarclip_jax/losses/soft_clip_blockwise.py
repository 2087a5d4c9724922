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

Extra texts X_in of a row are more columns of M_i alone, and their targets are zero. With

    e_in = α I_i·X_in                    c_i = log [ Σ_k exp(M_ik - x_i) + Σ_n exp(e_in - x_i) ]

all that is made of c stays. With ge_in, 2B loss differentiated by e_in, there are sums at the row:

    ge_in = w_i exp(e_in - x_i - c_i)    dI_i += Σ_n α ge_in X_in
    dX_in = α ge_in I_i                  dlogit_scale += Σ_in ge_in e_in.

The walks begin with them: c with the sum over n, dI_i and dlogit_scale with these terms.

FLOPs in units of B² E: forward 8 (12 transposed), backward 16 (12 detached). With h = 1 nothing of
A exists: plain CLIP, 4 forward and 8 backward. Extra texts add 2 N/B forward and 5 N/B backward.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lumbarclip_jax.losses.block_logits import (
    Logits,
    Scales,
    extra_logits,
    pair_logits,
    target_logits,
)
from lumbarclip_jax.losses.blockwise import Pairs, map_blocks
from lumbarclip_jax.losses.extra_texts import gradient_of_extras, gradient_of_images
from lumbarclip_jax.losses.online import OfGroup, OnlineMean, OnlineSoftmax
from lumbarclip_jax.losses.similarity import product


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


@dataclasses.dataclass(frozen=True)
class SoftClip:
    """2B times the loss, an objective for `blockwise.streamed`; its scalars are `Scales`."""

    targets: str
    detach_targets: bool
    hard_weight: float

    def forward(self, exchange, pairs: Pairs, extra_texts, scales: Scales):
        def fold(sums: Sums, rows: Pairs, keys: Pairs) -> Sums:
            L, M = pair_logits(rows, keys, scales)
            soft, hard = sums.soft, sums.hard
            if self._is_soft:
                A = target_logits(rows, keys, scales)
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
        text = image = OnlineSoftmax.of_nothing(count)
        if extra_texts is not None:
            image = image.add(
                map_blocks(
                    lambda rows, extras: extra_logits(rows, extras, scales)[1],
                    (pairs, extra_texts),
                    exchange.block_size,
                )
            )
        kinds = (1 if constants.likeness is None else 2) if self._is_soft else 0
        hard = None if constants.groups is None else OfGroup.of_nothing(count)
        start = Sums(text, image, (OnlineMean.of_nothing(count),) * kinds, hard)
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
            (A,) = target_logits(rows, keys, scales)
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

    def backward(
        self, exchange, pairs: Pairs, extra_texts, keys, statistics, scales: Scales, cotangent
    ):
        alpha, beta = jnp.exp(scales.logit_scale), scales.target_scale
        soft_weight = 1.0 - self.hard_weight

        def fold(gradients, rows, keys):
            dI, dT, dlogit_scale, dtarget_scale = gradients
            (rows, i), (keys, k) = rows, keys
            i = jax.tree.map(lambda leaf: leaf[:, None], i)
            k = jax.tree.map(lambda leaf: leaf[None, :], k)
            L, M = pair_logits(rows, keys, scales)
            # Of text i and image k, and back; of a text the letter is P, of an image Q.
            P_ik = P_ki = self.hard_weight * rows.are_equal(keys)
            if i.n is not None:
                P_ik = P_ki = P_ik / i.n  # rows of one group have one n
            Q_ik, Q_ki = P_ik, P_ki
            if self._is_soft:
                kinds = target_logits(rows, keys, scales)
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

        def of_extras(rows, extras, w, c):
            similarities, from_row = extra_logits(rows, extras, scales)
            ge = w[:, None] * jnp.exp(from_row - c[:, None])
            weights = cotangent * alpha * ge
            dlogit_scale = jnp.sum(weights * similarities, axis=1)
            return gradient_of_images(weights, extras), dlogit_scale, weights

        no_gradient = jnp.zeros(pairs.image_embeds.shape, jnp.float32)
        zeros = no_gradient[:, 0]
        dI, dX, dlogit_scale = no_gradient, None, zeros
        if extra_texts is not None:
            rows = (pairs, extra_texts, statistics.w, statistics.c)
            dI, dlogit_scale, weights = map_blocks(of_extras, rows, exchange.block_size)
            dX = gradient_of_extras(weights, pairs.image_embeds)
        dI, dT, *scale_gradients = exchange.sweep(
            fold,
            (dI, no_gradient, dlogit_scale, zeros),
            (pairs, statistics),
            (keys, exchange.share(statistics)),
        )
        return dI, dT, dX, exchange.total(Scales(*map(jnp.sum, scale_gradients)))

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
