"""One program of the attention kernel: a head of a sequence, or of one window of several images.

It takes whole rows of logits, so nothing of [T, T] is written but the gradient of a bias, and what
the backward pass needs of the softmax is computed again.
"""

import dataclasses
import math

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

QUERY_BLOCK = 64
REPEATS = 16  # windows a program takes one after another, to sum the gradient of their bias


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which program does what: group g = repeat · windows + window, all heads alike."""

    groups: int  # sequences
    heads: int
    tokens: int
    width: int
    windows: int  # after so many sequences the bias begins again
    bias_heads: int
    bias_rows: int  # 0 without bias; 1 for one that is the same for all queries
    keep_rate: float
    interpret: bool  # runs without a GPU

    @property
    def keys(self) -> int:
        """Columns of a program's logits: Triton's blocks are powers of two, its products >= 16."""
        return max(16, pl.next_power_of_2(self.tokens))

    @property
    def rows(self) -> int:
        return min(self.keys, QUERY_BLOCK)

    @property
    def repeats(self) -> int:
        return math.gcd(self.groups // self.windows, REPEATS) if self.bias_rows > 1 else 1

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.groups // self.windows // self.repeats, self.windows, self.heads

    def share(self, shares: int) -> "Plan | None":
        """The plan of one of the devices that share the sequences; None if it is not to be had."""
        groups, rest = divmod(self.groups, shares)
        windows = groups if self.windows == self.groups else self.windows
        if rest or groups % windows:
            return None
        return dataclasses.replace(self, groups=groups, windows=windows)

    def warps(self, kernel) -> int:
        """Measured on an H200: 8 take twice the time of 4, but where 4 have too few registers."""
        return 4 if kernel is forward or self.keys <= 64 else 8


class Program:
    """What one program of the grid reads and writes, by sequence and block of queries."""

    def __init__(self, plan: Plan, refs: dict):
        self.plan, self.refs = plan, refs
        self.chunk, self.window, self.head = (pl.program_id(axis) for axis in range(3))
        self.columns = jnp.arange(plan.keys)
        self.features = jnp.arange(plan.width)

    def group(self, repeat):
        return (self.chunk * self.plan.repeats + repeat) * self.plan.windows + self.window

    def _place(self, name, group, tokens):
        place = self.refs[name].at[group, tokens[:, None], self.head, self.features[None, :]]
        return place, jnp.broadcast_to(
            (tokens < self.plan.tokens)[:, None], (tokens.size, self.plan.width)
        )

    def load(self, name, group, tokens):
        place, is_inside = self._place(name, group, tokens)
        return triton.load(place, mask=is_inside, other=0)

    def store(self, name, group, tokens, x):
        place, is_inside = self._place(name, group, tokens)
        triton.store(place, x.astype(self.refs[name].dtype), mask=is_inside)

    def square(self, rows):
        inside = (rows < self.plan.tokens)[:, None] & (self.columns < self.plan.tokens)[None, :]
        return rows[:, None], self.columns[None, :], inside

    def bias(self, rows):
        """[1 or rows, keys]; -inf in the columns that are not there."""
        no_key = jnp.where(self.columns < self.plan.tokens, 0.0, -jnp.inf)[None, :]
        if not self.plan.bias_rows:
            return no_key
        head = self.head if self.plan.bias_heads > 1 else 0
        if self.plan.bias_rows == 1:
            place = self.refs["bias"].at[self.window, head, 0, self.columns]
            inside = self.columns < self.plan.tokens
            return triton.load(place, mask=inside, other=0.0)[None, :] + no_key
        rows, columns, inside = self.square(rows)
        place = self.refs["bias"].at[self.window, head, rows, columns]
        return triton.load(place, mask=inside, other=0.0) + no_key

    def kept(self, group, rows):
        rows, columns, inside = self.square(rows)
        place = self.refs["kept"].at[group, self.head, rows, columns]
        return triton.load(place, mask=inside, other=0) != 0

    def drop(self, weights, kept):
        return weights if kept is None else jnp.where(kept, weights / self.plan.keep_rate, 0.0)

    def weights(self, query, key, bias):
        logits = triton.dot(query, key, trans_b=True) * self.plan.width**-0.5 + bias
        exponentials = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)

    def blocks(self):
        """Rows of the logits, block by block."""
        count = -(-self.plan.tokens // self.plan.rows)
        return [block * self.plan.rows + jnp.arange(self.plan.rows) for block in range(count)]


def forward(plan: Plan, refs: dict) -> None:
    program = Program(plan, refs)
    blocks = program.blocks()
    biases = [program.bias(rows) for rows in blocks]

    def one(repeat, _):
        group = program.group(repeat)
        key = program.load("key", group, program.columns)
        value = program.load("value", group, program.columns)
        for rows, bias in zip(blocks, biases, strict=True):
            weights = program.weights(program.load("query", group, rows), key, bias)
            kept = program.kept(group, rows) if "kept" in refs else None
            dropped = program.drop(weights, kept).astype(value.dtype)
            program.store("out", group, rows, triton.dot(dropped, value))
        return _

    lax.fori_loop(0, plan.repeats, one, 0)


def backward(plan: Plan, refs: dict) -> None:
    program = Program(plan, refs)
    blocks = program.blocks()
    biases = [program.bias(rows) for rows in blocks]
    scale = plan.width**-0.5

    def one(repeat, by_bias):
        group = program.group(repeat)
        key = program.load("key", group, program.columns)
        value = program.load("value", group, program.columns)
        by_key = by_value = jnp.zeros((plan.keys, plan.width), jnp.float32)
        for rows, bias in zip(blocks, biases, strict=True):
            query = program.load("query", group, rows)
            by_out = program.load("by_out", group, rows)  # 0 in the rows that are not there
            weights = program.weights(query, key, bias)
            kept = program.kept(group, rows) if "kept" in refs else None
            dropped = program.drop(weights, kept).astype(by_out.dtype)
            by_value += triton.dot(dropped, by_out, trans_a=True)
            by_weights = program.drop(triton.dot(by_out, value, trans_b=True), kept)
            mean = (weights * by_weights).sum(axis=-1, keepdims=True)
            by_logits = weights * (by_weights - mean)
            if plan.bias_rows == 1:
                by_bias += by_logits.sum(axis=0)
            elif plan.bias_rows:
                by_bias += by_logits
            by_logits = by_logits.astype(key.dtype)
            program.store("by_query", group, rows, triton.dot(by_logits, key) * scale)
            by_key += triton.dot(by_logits, query, trans_a=True)
        program.store("by_key", group, program.columns, by_key * scale)
        program.store("by_value", group, program.columns, by_value)
        return by_bias

    shape = (plan.keys,) if plan.bias_rows == 1 else (plan.rows, plan.keys)
    by_bias = lax.fori_loop(0, plan.repeats, one, jnp.zeros(shape, jnp.float32))
    place = (program.chunk, program.window, program.head)
    if plan.bias_rows == 1:
        to = refs["by_bias"].at[(*place, 0, program.columns)]
        triton.store(to, by_bias, mask=program.columns < plan.tokens)
    elif plan.bias_rows:
        rows, columns, inside = program.square(blocks[0])
        triton.store(refs["by_bias"].at[(*place, rows, columns)], by_bias, mask=inside)
