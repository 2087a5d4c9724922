"""The forms of a 1x1 convolution compute the same; the network of them compiles for a GPU."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from lumbarclip_jax.bench import absent
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.xla_cpu import convolution


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [8, 7])
def test_the_product_is_the_convolution(stride, side):
    kernel = jax.random.normal(jax.random.key(0), (1, 1, 3, 5))
    x = jax.random.normal(jax.random.key(1), (2, side, side, 3))

    def value_and_gradients(form):
        out, pull_back = jax.vjp(functools.partial(form, stride), kernel, x)
        return out, *pull_back(jnp.cos(out))

    product = value_and_gradients(convolution.pointwise)
    expected = value_and_gradients(convolution.convolution)
    for found, value in zip(product, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, absent.CUDA_PLUGINS)), reason="no CUDA plugin installed"
)
def test_a_resnet_compiles_for_a_gpu():
    """With the options of a run: the compiler used to end the process."""
    on_gpu = jax.sharding.SingleDeviceSharding(absent.devices_of("h200:1")[0])

    def abstract(tree):
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=on_gpu), tree
        )

    model = ResNet(64, (256, 512), (1, 1), dtype=jnp.bfloat16)
    images = abstract(jax.ShapeDtypeStruct((256, 224, 224, 3), jnp.bfloat16))
    variables = meta.unbox(jax.eval_shape(model.init, jax.random.key(0), images))

    def loss(variables, images):
        out, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
        return jnp.sum(out["pooled"].astype(jnp.float32) ** 2)

    jax.jit(jax.grad(loss)).lower(abstract(variables), images).compile()
