"""Attention of short sequences as one kernel for GPUs, with bias and dropout.

A program takes whole rows of logits, so nothing of [T, T] is written but the gradient of a bias,
and what the backward pass needs of the softmax is computed again. XLA writes and reads the logits
several times, in float32; cuDNN's kernel takes neither Swin's bias with its mask nor drawn weights.
Heads are read where the projections leave them, [B, T, N, H]: nothing is transposed.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float

Heads = Float[Array, "*B N T H"]

MAX_TOKENS = 256  # keys of a program, all of them in registers
QUERY_BLOCK = 64
REPEATS = 16  # windows a program takes one after another, to sum the gradient of their bias


def attend_by_kernel(
    query: Heads,
    key: Heads,
    value: Heads,
    bias: Float[Array, "*_B _N _T T"] | None = None,
    kept: Bool[Array, "*B N T T"] | None = None,
    keep_rate: float = 1.0,
    *,
    interpret: bool = False,
) -> Heads:
    """What `attention.attend_by_rows` is. `interpret` runs it without a GPU, slowly.

    Raises:
      NotImplementedError: for none of this length, width or kind of bias is there a kernel.
    """
    plan = _plan(query.shape, None if bias is None else bias.shape, keep_rate, interpret)
    tokens_first = [
        x.reshape(plan.groups, plan.heads, plan.tokens, plan.width).swapaxes(1, 2)
        for x in (query, key, value)
    ]
    if bias is not None:
        bias = bias.reshape(-1, *bias.shape[-3:]).astype(jnp.float32)
    if kept is not None:
        kept = kept.reshape(-1, *kept.shape[-3:]).astype(jnp.int8)
    return _attend(plan, *tokens_first, bias, kept).swapaxes(1, 2).reshape(query.shape)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """Which program does what: group g = repeat · windows + window, all heads alike."""

    groups: int  # sequences
    heads: int
    tokens: int
    width: int
    windows: int  # after so many sequences the bias begins again
    bias_heads: int
    bias_rows: int  # 0 without bias; 1 for one that is the same for all queries
    keep_rate: float
    interpret: bool

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

    def warps(self, kernel) -> int:
        """Measured on an H200: 8 take twice the time of 4, but where 4 have too few registers."""
        return 4 if kernel is _forward or self.keys <= 64 else 8


def _plan(shape, bias_shape, keep_rate, interpret) -> _Plan:
    *batch, heads, tokens, width = shape
    if tokens > MAX_TOKENS or width < 16 or width & (width - 1):
        raise NotImplementedError(f"no attention kernel for {tokens} tokens, {width} wide")
    windows, bias_heads, bias_rows = 1, 1, 0
    if bias_shape is not None:
        *bias_batch, bias_heads, bias_rows, _ = bias_shape
        windows = math.prod(bias_batch)
        repeated = [1] * len(batch)
        for axis in reversed(range(len(batch))):
            if math.prod(repeated) < windows:
                repeated[axis] = batch[axis]
        is_whole = bias_rows == 1 or tokens <= QUERY_BLOCK  # its gradient is one sum
        if bias_batch != repeated or not is_whole:
            raise NotImplementedError(f"no attention kernel for {shape} with a bias {bias_shape}")
    groups = math.prod(batch)
    return _Plan(groups, heads, tokens, width, windows, bias_heads, bias_rows, keep_rate, interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: _Plan, query, key, value, bias, kept):
    return _attend_forward(plan, query, key, value, bias, kept)[0]


def _attend_forward(plan, query, key, value, bias, kept):
    inputs = {"query": query, "key": key, "value": value, "bias": bias, "kept": kept}
    out = _call(plan, _forward, inputs, {"out": jax.ShapeDtypeStruct(query.shape, query.dtype)})
    return out["out"], inputs


def _attend_backward(plan, inputs, by_out):
    outputs = {f"by_{name}": inputs[name] for name in ("query", "key", "value")}
    if plan.bias_rows:
        shape = (*plan.grid, plan.bias_rows, plan.tokens)
        outputs["by_bias"] = jax.ShapeDtypeStruct(shape, jnp.float32)
    made = _call(plan, _backward, inputs | {"by_out": by_out}, outputs)
    by_bias = None
    if plan.bias_rows:
        by_bias = made["by_bias"].sum(0)
        if plan.bias_heads == 1:
            by_bias = by_bias.sum(1, keepdims=True)
    return made["by_query"], made["by_key"], made["by_value"], by_bias, None


_attend.defvjp(_attend_forward, _attend_backward)


def _call(plan: _Plan, kernel, inputs: dict, outputs: dict) -> dict[str, Array]:
    inputs = {name: x for name, x in inputs.items() if x is not None}

    def run(*refs):
        kernel(plan, dict(zip([*inputs, *outputs], refs, strict=True)))

    made = pl.pallas_call(
        run,
        grid=plan.grid,
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs.values()],
        compiler_params=triton.CompilerParams(num_warps=plan.warps(kernel), num_stages=2),
        interpret=plan.interpret,
        name=f"attention{kernel.__name__}",
    )(*inputs.values())
    return dict(zip(outputs, made, strict=True))


class _Program:
    """What one program of the grid reads and writes, by sequence and block of queries."""

    def __init__(self, plan: _Plan, refs: dict):
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

    def _square(self, rows):
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
        rows, columns, inside = self._square(rows)
        place = self.refs["bias"].at[self.window, head, rows, columns]
        return triton.load(place, mask=inside, other=0.0) + no_key

    def kept(self, group, rows):
        rows, columns, inside = self._square(rows)
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


def _forward(plan: _Plan, refs: dict) -> None:
    program = _Program(plan, refs)
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


def _backward(plan: _Plan, refs: dict) -> None:
    program = _Program(plan, refs)
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
        rows, columns, inside = program._square(blocks[0])
        triton.store(refs["by_bias"].at[(*place, rows, columns)], by_bias, mask=inside)
