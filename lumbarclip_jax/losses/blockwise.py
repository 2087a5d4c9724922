"""Losses over all pairings of a batch, computed a block at a time.

A loss here is a sum over rows (one row is one pair) of something that needs every key (every pair
again), such as a log-sum-exp of logits. `sweep_blocks` walks the rows in blocks and, for each,
the keys in blocks, folding each block of pairings into what the row block carries: memory is the
carry and one block, never a B×B matrix. Gradients are recomputed from the blocks in a second walk.

Both orientations of a pairing are computed where the row is (texts of the row against images of
the keys, and images of the row against texts of the keys). This costs one more matrix product and
makes the gradient of a row a sum at the row: gradients never travel. The same walk therefore runs
over a mesh (`sharded.py`), where only the exchange differs: how keys and what they know arrive.

Extra texts are no keys, since only their own row meets them: they are not shared, and what a row
carries begins with them (`map_blocks`).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses.likeness import Blend

PyTree = Any
Fold = Callable[[PyTree, PyTree, PyTree], PyTree]  # (carry, rows, keys) -> carry


class Constants(NamedTuple):
    """What is known of the pairs besides their embeddings; no gradient is taken of it.

    Without groups every pair is alone; for the likeness see the module of its name.
    """

    groups: Int[Array, "B"] | None = None
    likeness: Blend | None = None


class Pairs(NamedTuple):
    """Image-text pairs, one a row, numbered from 1 over the global batch; 0 marks padding."""

    image_embeds: Float[Array, "B E"]
    text_embeds: Float[Array, "B E"]
    number: Int[Array, "B"]
    constants: Constants

    def is_real(self) -> Array:
        """[1, B]: False for the keys that only fill the last block."""
        return (self.number > 0)[None, :]

    def matches(self, keys: "Pairs") -> Array:
        """[rows, keys]: True where row and key are the same pair."""
        return self.number[:, None] == keys.number[None, :]

    def are_equal(self, keys: "Pairs") -> Array:
        """[rows, keys]: True where row and key are of one group, and the key is real."""
        of_rows, of_keys = self.constants.groups, keys.constants.groups
        if of_rows is None or of_keys is None:
            return self.matches(keys)
        return (of_rows[:, None] == of_keys[None, :]) & keys.is_real()


@runtime_checkable
class Exchange(Protocol):
    """How rows meet keys. Hashable: it is a static argument, as objectives are."""

    @property
    def block_size(self) -> int:
        """Rows, and keys, of a block."""

    def share(self, tree: PyTree) -> PyTree:
        """Local rows as keys, in whatever form `sweep` takes them."""

    def sweep(self, fold: Fold, carry: PyTree, rows: PyTree, keys: PyTree) -> PyTree:
        """Fold every key into the carry of every local row; a leaf has one row a pair."""

    def total(self, tree: PyTree) -> PyTree:
        """Sum over devices."""

    def run(
        self, function: Callable, inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> Callable:
        """`function` over the devices; each input and output is "rows", "keys" or "same"."""


@runtime_checkable
class Objective(Protocol):
    """A loss that can be streamed."""

    def forward(
        self, exchange: Exchange, pairs: Pairs, extra_texts, scalars
    ) -> tuple[Array, Pairs, PyTree]:
        """(sum of the loss over all rows, the pairs as keys, statistics of the local rows)."""

    def backward(
        self, exchange: Exchange, pairs: Pairs, extra_texts, keys, statistics, scalars, cotangent
    ):
        """Gradients of cotangent × sum: (local image_embeds, text_embeds, extra_texts, scalars)."""


@dataclasses.dataclass(frozen=True)
class OneDevice:
    """The exchange of a batch that is all on one device."""

    block_size: int

    def share(self, tree: PyTree) -> PyTree:
        return tree

    def sweep(self, fold: Fold, carry: PyTree, rows: PyTree, keys: PyTree) -> PyTree:
        return sweep_blocks(fold, carry, rows, keys, self.block_size)

    def total(self, tree: PyTree) -> PyTree:
        return tree

    def run(self, function: Callable, inputs: tuple[str, ...], outputs: tuple[str, ...]):
        del inputs, outputs
        return function


@functools.partial(jax.jit, static_argnums=(0, 1))
def streamed(
    objective: Objective,
    exchange: Exchange,
    image_embeds: Float[Array, "B E"],
    text_embeds: Float[Array, "B E"],
    extra_texts: Float[Array, "B N E"] | None,
    scalars: tuple[Float[Array, ""], ...],
    constants: Constants,
) -> Float[Array, ""]:
    """The sum of `objective` over the batch, with gradients for embeddings and scalars.

    The gradient is defined outside the mesh program: no collective is ever transposed.
    """
    return _streamed(
        objective, exchange, image_embeds, text_embeds, extra_texts, scalars, constants
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _streamed(objective, exchange, *arguments):
    return _forward(objective, exchange, *arguments)[0]


def _forward(objective, exchange, image_embeds, text_embeds, extra_texts, scalars, constants):
    number = jnp.arange(1, len(image_embeds) + 1, dtype=jnp.int32)
    pairs = Pairs(image_embeds, text_embeds, number, constants)
    forward = exchange.run(
        functools.partial(objective.forward, exchange),
        inputs=("rows", "rows", "same"),
        outputs=("same", "keys", "rows"),
    )
    total, keys, statistics = forward(pairs, extra_texts, scalars)
    return total, (pairs, extra_texts, keys, statistics, scalars)


def _backward(objective, exchange, residuals, cotangent):
    pairs, extra_texts, keys, statistics, scalars = residuals
    backward = exchange.run(
        functools.partial(objective.backward, exchange),
        inputs=("rows", "rows", "keys", "rows", "same", "same"),
        outputs=("rows", "rows", "rows", "same"),
    )
    *gradients, scalar_gradients = backward(
        pairs, extra_texts, keys, statistics, scalars, cotangent
    )
    embeds = [pairs.image_embeds, pairs.text_embeds, extra_texts]
    gradients = jax.tree.map(lambda leaf, of: leaf.astype(of.dtype), gradients, embeds)
    return (*gradients, scalar_gradients, None)


_streamed.defvjp(_forward, _backward)


def sweep_blocks(fold: Fold, carry: PyTree, rows: PyTree, keys: PyTree, block_size: int) -> PyTree:
    """Fold all keys into the carry of all rows, `block_size` rows by `block_size` keys at a time.

    Where `block_size` does not divide them, rows and keys are padded with zeros at the cost of one
    copy; `fold` sees padded keys (number 0) and must ignore them, padded rows are dropped here.
    """
    count = len(jax.tree.leaves(rows)[0])
    carry, rows, keys = (_split(tree, block_size) for tree in (carry, rows, keys))

    def fold_row_block(index, carry):
        block, row_block = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), (carry, rows)
        )
        block, _ = jax.lax.scan(
            lambda block, key_block: (fold(block, row_block, key_block), None), block, keys
        )
        # In place: a gradient exists once, in the buffer it is returned in.
        return jax.tree.map(
            lambda leaf, new: jax.lax.dynamic_update_index_in_dim(leaf, new, index, 0),
            carry,
            block,
        )

    carry = jax.lax.fori_loop(0, len(jax.tree.leaves(rows)[0]), fold_row_block, carry)
    return _join(carry, count)


def map_blocks(function: Callable, rows: tuple[PyTree, ...], block_size: int) -> PyTree:
    """`function(*rows)`, whose leaves have one row a pair too, `block_size` rows at a time.

    Not every compiler fuses a sum with the products it is of: here these are one block's.
    """
    count = len(jax.tree.leaves(rows)[0])
    mapped = jax.lax.map(lambda block: function(*block), _split(rows, block_size))
    return _join(mapped, count)


def _split(tree: PyTree, block_size: int) -> PyTree:
    """Leaves [B, ...] as [blocks, rows, ...], in equal blocks of at most `block_size` rows."""

    def split(leaf):
        blocks = -(-len(leaf) // block_size)
        rows = -(-len(leaf) // blocks)
        padding = [(0, blocks * rows - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding).reshape(blocks, rows, *leaf.shape[1:])

    return jax.tree.map(split, tree)


def _join(tree: PyTree, count: int) -> PyTree:
    """The first `count` rows of leaves [blocks, rows, ...], as [count, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], tree)
