"""AdamW with warmup-cosine, and policies written as path patterns: what decays, learns or rests."""

import math

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from lumbarclip_jax.training import lora
from lumbarclip_jax.training.parameter_paths import (
    check_patterns,
    is_adapter,
    map_paths,
    matches,
)
from lumbarclip_jax.xla_cpu.sums import norm_by_columns


def learning_rate(config: ConfigDict, step: int, total_steps: int) -> float:
    """Linear warmup to `config.lr`, then a cosine to `config.final_lr_fraction` of it.

    A host-side number passed to the train step as an argument: a schedule inside the step would
    make its length part of the compiled program and miss the compilation cache.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * (config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine)


def make_optimizer(config: ConfigDict, params) -> optax.GradientTransformation:
    """Clipping, Adam moments and decoupled weight decay on trainable parameters.

    Frozen parameters get no moments. The learning rate is applied by `apply_updates`. Kernels
    decay towards zero, and adapters so towards the kernels that they sit on.
    """
    decays = map_paths(lambda path, _: path.endswith("/kernel") or is_adapter(path), params)
    stages = [
        clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.scale_by_adam(b1=config.b1, b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask=decays),
    ]
    return optax.masked(optax.chain(*stages), trainable(config, params))


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Gradients times min(1, limit / their global norm), as Pascanu et al. 2013, algorithm 1.

    Optax divides every gradient instead, and XLA's CPU compiler then writes the quotients out for
    the two moments to read: a product it computes in both.
    """

    def clip(grads, params):
        del params
        factor = jnp.minimum(1.0, limit / global_norm(grads))
        return jax.tree.map(lambda grad: (grad * factor).astype(grad.dtype), grads)

    return optax.stateless(clip)


def global_norm(grads) -> Float[Array, ""]:
    """√Σ g² over all entries of all leaves."""
    return lax.platform_dependent(grads, cpu=norm_by_columns, default=optax.tree.norm)


def trainable(config: ConfigDict, params):
    """A tree of bools, False for kernels with adapters and where a pattern of `frozen` matches.

    Raises:
      ValueError: a pattern matches no parameter.
    """
    check_patterns(config.frozen, params, "optim.frozen")
    adapted = lora.adapted_paths(params)

    def is_trained(path, _):
        return path not in adapted and not any(matches(each, path) for each in config.frozen)

    return map_paths(is_trained, params)


def lr_multipliers(config: ConfigDict, params):
    """A tree of floats: the multiplier of the first matching pattern, 1.0 where none matches.

    Raises:
      ValueError: a pattern matches no parameter.
    """
    check_patterns([row[0] for row in config.lr_multipliers], params, "optim.lr_multipliers")

    def multiplier(path, _):
        rows = (float(value) for pattern, value in config.lr_multipliers if matches(pattern, path))
        return next(rows, 1.0)

    return map_paths(multiplier, params)


def apply_updates(params, updates, lr: jax.Array | float, multipliers, train_mask):
    """p - lr * multiplier * update; frozen parameters are returned as they are, bit for bit."""
    return jax.tree.map(
        lambda p, u, m, t: (p - lr * m * u).astype(p.dtype) if t else p,
        params,
        updates,
        multipliers,
        train_mask,
    )
