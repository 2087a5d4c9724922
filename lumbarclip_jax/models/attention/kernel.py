"""Attention of short sequences as one kernel for GPUs, with bias and dropout.

XLA writes and reads the logits several times, in float32; cuDNN's kernel takes neither Swin's bias
with its mask nor drawn weights. Heads are read where the projections leave them, [B, T, N, H]:
nothing is transposed.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.custom_partitioning import custom_partitioning
from jax.experimental.pallas import triton
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from lumbarclip_jax.models.attention.program import QUERY_BLOCK, Plan, backward, forward

Heads = Float[Array, "*B N T H"]

MAX_TOKENS = 256  # keys of a program, all of them in registers


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
    """What `xla.attend_by_rows` is. `interpret` runs it without a GPU, slowly.

    Devices that share the sequences of a batch take their own ones.

    Raises:
      ValueError: for none of this length, width or kind of bias is there a kernel.
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


def _plan(shape, bias_shape, keep_rate, interpret) -> Plan:
    *batch, heads, tokens, width = shape
    if tokens > MAX_TOKENS or width < 16 or width & (width - 1):
        raise ValueError(f"no attention kernel for {tokens} tokens, {width} wide")
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
            raise ValueError(f"no attention kernel for {shape} with a bias {bias_shape}")
    groups = math.prod(batch)
    return Plan(groups, heads, tokens, width, windows, bias_heads, bias_rows, keep_rate, interpret)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, query, key, value, bias, kept):
    return _attend_forward(plan, query, key, value, bias, kept)[0]


def _attend_forward(plan, query, key, value, bias, kept):
    inputs = {"query": query, "key": key, "value": value, "bias": bias, "kept": kept}
    return _divided(_run_forward, plan, inputs)["out"], inputs


def _attend_backward(plan, inputs, by_out):
    made = _divided(_run_backward, plan, inputs | {"by_out": by_out})
    by_bias = made.get("by_bias")
    if by_bias is not None and plan.bias_heads == 1:
        by_bias = by_bias.sum(1, keepdims=True)
    return made["by_query"], made["by_key"], made["by_value"], by_bias, None


_attend.defvjp(_attend_forward, _attend_backward)


def _run_forward(plan: Plan, inputs: dict[str, Array]) -> dict[str, Array]:
    return _run(plan, forward, inputs, {"out": inputs["query"]})


def _run_backward(plan: Plan, inputs: dict[str, Array]) -> dict[str, Array]:
    outputs: dict[str, Any] = {f"by_{name}": inputs[name] for name in ("query", "key", "value")}
    if plan.bias_rows:
        shape = (*plan.grid, plan.bias_rows, plan.tokens)
        outputs["by_bias"] = jax.ShapeDtypeStruct(shape, jnp.float32)
    made = _run(plan, backward, inputs, outputs)
    return made | ({"by_bias": made["by_bias"].sum(0)} if plan.bias_rows else {})


def _run(plan: Plan, kernel: Callable, inputs: dict, outputs: dict) -> dict[str, Array]:
    def run(*refs):
        kernel(plan, dict(zip([*inputs, *outputs], refs, strict=True)))

    made = pl.pallas_call(
        run,
        grid=plan.grid,
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs.values()],
        compiler_params=triton.CompilerParams(num_warps=plan.warps(kernel), num_stages=2),
        interpret=plan.interpret,
        name=f"attention_{kernel.__name__}",
    )(*inputs.values())
    return dict(zip(outputs, made, strict=True))


def _divided(run: Callable, plan: Plan, inputs: dict) -> dict[str, Array]:
    """`run(plan, inputs)`, of which every device takes the sequences that it has."""
    inputs = {name: x for name, x in inputs.items() if x is not None}
    results = list(jax.eval_shape(functools.partial(run, plan), inputs))
    has_own_bias = plan.windows == plan.groups  # each sequence

    def is_shared(name: str) -> bool:
        return has_own_bias or not name.endswith("bias")

    def partition(mesh, argument_shapes, result_shapes):
        query = dict(zip(inputs, argument_shapes, strict=True))["query"]
        axes = (*query.sharding.spec, None)[0]
        shares = math.prod(mesh.shape[axis] for axis in jax.tree.leaves(axes))
        own = plan.share(shares)
        if own is None:
            axes, own = None, plan
        places = {
            name: NamedSharding(mesh, PartitionSpec(axes if is_shared(name) else None))
            for name in (*inputs, *results)
        }

        def run_own(*arrays):
            made = run(own, dict(zip(inputs, arrays, strict=True)))
            for name in made:
                if axes is not None and not is_shared(name):
                    made[name] = lax.psum(made[name], axes)
            return [made[name] for name in results]

        own_results = [places[name] for name in results]
        return mesh, run_own, own_results, tuple(places[name] for name in inputs)

    @custom_partitioning
    def call(*arrays):
        made = run(plan, dict(zip(inputs, arrays, strict=True)))
        return [made[name] for name in results]

    call.def_partition(partition=partition, sharding_rule=_rule([*inputs], results, is_shared))
    return dict(zip(results, call(*inputs.values()), strict=True))


def _rule(inputs: list[str], results: list[str], is_shared: Callable[[str], bool]) -> str:
    """Sequences are the first axis of all arrays that have one; nothing else is shared."""

    def axes(place: str, names: list[str]) -> str:
        return ", ".join(
            " ".join(["s" if is_shared(n) else f"{place}{i}a", *(f"{place}{i}{c}" for c in "bcd")])
            for i, n in enumerate(names)
        )

    return f"{axes('x', inputs)} -> {axes('y', results)}"
