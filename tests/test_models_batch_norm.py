"""Batch statistics: exact where a channel is far from 0, and global when the batch is sharded."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.xla_cpu.normalisation import batch_statistics
from tests.golden.cases import random_variables


def test_statistics_of_a_channel_far_from_zero():
    """E[x²] - E[x]² in float32 would lose every digit of this variance."""
    x = np.random.default_rng(0).normal(3000.0, 0.1, (4, 5, 6, 2)).astype(np.float32)
    mean, var = jax.jit(batch_statistics)(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 1, 2)), rtol=1e-3)


def test_running_statistics_by_hand():
    """Values 1, 3, 5, 7: mean 4, biased variance 5, unbiased 20/3; a tenth of the way there."""
    module = BatchNorm()
    x = jnp.array([1.0, 3.0, 5.0, 7.0]).reshape(2, 2, 1, 1)
    variables = {
        "params": {"scale": jnp.ones(1), "bias": jnp.zeros(1)},
        "batch_stats": {"mean": jnp.zeros(1), "var": jnp.ones(1)},
    }
    out, updated = module.apply(variables, x, train=True, mutable="batch_stats")
    expected = (np.array([1, 3, 5, 7]) - 4) / np.sqrt(5 + 1e-5)
    np.testing.assert_allclose(out.ravel(), expected, rtol=1e-6)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], [0.4], rtol=1e-6)
    np.testing.assert_allclose(stats["var"], [0.9 + 0.1 * 20 / 3], rtol=1e-6)
    evaluated = module.apply(variables | updated, x, train=False)
    np.testing.assert_allclose(
        evaluated.ravel(), (x.ravel() - 0.4) / np.sqrt(0.9 + 2 / 3 + 1e-5), rtol=1e-6
    )


def test_statistics_are_those_of_the_global_batch():
    """Eight devices with one image each, of very different contrast."""
    module = ResNet(4, (8,), (1,))
    images = jax.random.normal(jax.random.key(0), (8, 16, 16, 1))
    images = images * jnp.arange(8.0).reshape(8, 1, 1, 1)
    variables = random_variables(module, images)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    @jax.jit
    def step(variables, images):
        def loss(params):
            out, updated = module.apply(
                variables | {"params": params}, images, train=True, mutable="batch_stats"
            )
            return jnp.sum(out["pooled"] ** 2), updated

        return jax.grad(loss, has_aux=True)(variables["params"])

    expected = step(variables, images)
    sharded = step(variables, jax.device_put(images, NamedSharding(mesh, PartitionSpec("data"))))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), sharded, expected
    )
