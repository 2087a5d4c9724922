"""The blocks of an encoder one after another: traced once, computed again, or looped over."""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float


def drop_path_rates(last: float, depth: int) -> list[Array | None]:
    """Stochastic-depth rates that grow linearly from 0 to `last`, one a block."""
    if not last:
        return [None] * depth
    return list(jnp.linspace(0.0, last, depth))


def traced_once(step: Callable, module: nn.Module) -> Callable:
    """`step(block, ...)`, traced and lowered once for all blocks equal but for their names.

    Half of the time to the first step of a ViT and a BERT from a warm cache. `module` is any one of
    the model: its parameters are drawn without, so that a seed gives the same ones either way.
    """
    return step if module.is_initializing() else nn.jit(step)


def run_layers(
    make_block: Callable[[str], nn.Module],
    depth: int,
    x: Float[Array, "B T D"],
    bias: Float[Array, "B #N #T T"] | None = None,
    *,
    drop_path: float = 0.0,
    keep: Collection[int] = (),
    remat: bool = False,
    scan: bool = False,
    train: bool = False,
) -> tuple[Float[Array, "B T D"], dict[int, Float[Array, "B T D"]]]:
    """Runs x through `depth` equal blocks; call it inside a compact method.

    Returns what the last block gives, and what those numbered in `keep` give, counted from 1.

    `make_block(name)` makes one block. `drop_path` is the stochastic-depth rate of the last one.
    With `remat` each block is recomputed in the backward pass instead of keeping its activations.
    With `scan` one block is compiled and looped over, and all but products with weights recomputed:
    the parameters are then stacked under `layers` instead of lying under `layer_0`, `layer_1`, ...
    (see `stacking`), and the outputs of all blocks are kept where those of any are.
    """

    def step(block: nn.Module, x: Array, rate: Array | None) -> tuple[Array, tuple[Array, ...]]:
        x = block(x, bias, rate, train=train)
        return x, (x,) if scan and keep else ()

    rates = drop_path_rates(drop_path, depth)
    if remat or scan:
        # Of blocks one by one XLA keeps products and computes again what it can fuse. A loop
        # would keep every array of the gradient: on a GPU four times as much.
        policy = None if remat else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        # A loop by itself keeps XLA from merging the recomputation with the forward pass.
        step = nn.remat(step, prevent_cse=not scan, policy=policy)
    if scan:
        step = nn.scan(
            step,
            variable_axes={"params": 0, "intermediates": 0},
            split_rngs={"params": True, "dropout": True},
            length=depth,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        drawn = [rate for rate in rates if rate is not None]
        x, outputs = step(make_block("layers"), x, jnp.stack(drawn) if drawn else None)
        return x, {number: outputs[0][number - 1] for number in keep}
    blocks = [make_block(f"layer_{index}") for index in range(depth)]
    step = traced_once(step, blocks[0])
    kept = {}
    for number, (block, rate) in enumerate(zip(blocks, rates, strict=True), start=1):
        x, _ = step(block, x, rate)
        if number in keep:
            kept[number] = x
    return x, kept
