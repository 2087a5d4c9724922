"""LoRA (Hu et al. 2021, arXiv 2106.09685): low-rank matrices that are trained on frozen kernels.

A model with adapters computes with

    W + (alpha / rank) A B    (section 4.1, equation 3; the paper's W is ours transposed)

in place of a kernel W [in, out], with A [in, rank] and B [rank, out]. As in the paper A starts
from a Gaussian, here of variance 1 / in, and B from zero, so that training starts from the model
as it is.

A and B are parameters like others, `a` and `b` under "lora" and the path of their kernel; kernels
of layers that are stacked for a scan have stacked ones. Only `merged` knows what they mean: it is
applied where parameters enter the model in training, and once where weights leave training to be
measured, used or exported. Everything else sees kernels.

What it saves is the optimizer's state of what is frozen: of ViT-B/16 and BERT base, in float32 at
rank 8, 226 MB in place of 1,564, and 28 with frozen towers, of which all but 6 is the adapters'.
It saves no product: the gradient of W + A B is the one that the gradient of W is, summed over
devices at its full size, and those of A and B are two small products of it.
"""

import collections
import math
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from lumbarclip_jax import sharding
from lumbarclip_jax.training.parameter_paths import ADAPTERS, check_patterns, map_paths, matches

PyTree = Any
EXAMPLE = "'.*_encoder/.*/(attention|mlp)/.*/kernel'"


def with_adapters(settings: Any, params: PyTree, key: jax.Array) -> PyTree:
    """Parameters, boxed with their logical axes, and the new adapters of `config.model.lora`.

    Without settings (None), or at rank 0, they are returned as they are.

    Raises:
      ValueError: a pattern of `paths` matches no parameter, or one that is no kernel of a linear
        layer; the rank is higher than a kernel's own can be.
    """
    if not (settings and settings.rank):
        return params
    check_patterns(settings.paths, sharding.unbox(params), "model.lora.paths")
    adapters: dict = {}
    boxed, _ = jax.tree_util.tree_flatten_with_path(params, is_leaf=sharding.is_box)
    for keys, kernel in boxed:
        names = [entry.key for entry in keys]
        path = "/".join(names)
        pattern = next((each for each in settings.paths if matches(each, path)), None)
        if pattern is None:
            continue
        _check_kernel(path, kernel, pattern, settings.rank)
        place = adapters
        for name in names[:-1]:
            place = place.setdefault(name, {})
        own_key = jax.random.fold_in(key, np.uint32(zlib.crc32(path.encode())))
        place[names[-1]] = _new(kernel, settings.rank, own_key)
    return params | {ADAPTERS: adapters}


def _check_kernel(path: str, kernel: Any, pattern: str, rank: int) -> None:
    axes = kernel.names if sharding.is_box(kernel) else ()
    if not path.endswith("/kernel") or len(axes) - ("layers" in axes) != 2:
        raise ValueError(
            f"model.lora.paths: the pattern {pattern!r} matches {path}, which is no kernel of a "
            f"linear layer: narrow it, as {EXAMPLE} is"
        )
    sizes = kernel.value.shape[-2:]
    if rank > min(sizes):
        raise ValueError(
            f"model.lora.rank={rank} is more than the {min(sizes)} of {path}, a kernel of "
            f"{sizes[0]} x {sizes[1]}: lower it, or leave that out of model.lora.paths"
        )


def _new(kernel: Any, rank: int, key: jax.Array) -> dict[str, Any]:
    *layers, rows, columns = kernel.value.shape
    *stack, row_axis, column_axis = kernel.names
    dtype = kernel.value.dtype
    a = jax.random.normal(key, (*layers, rows, rank), dtype) / math.sqrt(rows)
    b = jnp.zeros((*layers, rank, columns), dtype)
    return {
        "a": sharding.box(a, (*stack, row_axis, None)),
        "b": sharding.box(b, (*stack, None, column_axis)),
    }


def add_product(
    kernel: Float[Array, "*L D E"],
    a: Float[Array, "*L D R"],
    b: Float[Array, "*L R E"],
    scale: jax.Array | float,
) -> Float[Array, "*L D E"]:
    """W + scale A B, at full precision on every device: what is trained is what is exported."""
    return kernel + scale * jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def add_product_in_place_of(kernel: jax.Array, a: jax.Array, b: jax.Array, scale: float):
    """`add_product` of arrays outside a program, where the kernel is."""
    return jax.jit(add_product, out_shardings=kernel.sharding)(kernel, a, b, scale)


def merged(settings: Any, params: PyTree, add: Callable = add_product) -> PyTree:
    """Parameters as the model takes them: each adapted kernel plus its adapters' product.

    Differentiable, and of parameters without adapters the tree itself.

    Args:
      settings: `config.model.lora` that the adapters were made with; else not read.
      params: without boxes.
      add: `add_product`, or what does the same.
    """
    if ADAPTERS not in params:
        return params

    def merge(own: Any, adapters: dict) -> Any:
        if isinstance(own, dict):
            return own | {name: merge(own[name], of) for name, of in adapters.items()}
        return add(own, adapters["a"], adapters["b"], settings.alpha / settings.rank)

    return merge(without_adapters(params), params[ADAPTERS])


def counted(params: PyTree) -> str:
    """How many kernels of each part of a model have adapters, in words; "" where there are none.

    An encoder without any is named: a ResNet has no kernel that the patterns of the config match.
    """
    count = collections.Counter(path.partition("/")[0] for path in adapted_paths(params))
    parts = {*count, *(name for name in params if name.endswith("_encoder"))}
    return ", ".join(f"{count[part]} kernels of {part}" for part in sorted(parts)) if count else ""


def without_adapters(params: PyTree) -> PyTree:
    return {name: tree for name, tree in params.items() if name != ADAPTERS}


def adapted_paths(params: PyTree) -> set[str]:
    """The kernels that have adapters, which are frozen."""
    paths = jax.tree.leaves(map_paths(lambda path, _: path, params.get(ADAPTERS, {})))
    return {path.rpartition("/")[0] for path in paths}
