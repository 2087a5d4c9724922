"""The two-tower model: its interface, its parameter tree and its projection heads."""

import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from ml_collections import ConfigDict
from scipy.special import erf

from lumbarclip_jax.models import LumbarCLIP, build_model, layers
from lumbarclip_jax.models.projection import Projection, unit
from tests.golden.cases import random_variables

ENCODERS = {
    "vit": {"name": "vit", "variant": "XS/16", "pooling": "cls"},
    "swin": {"name": "swin", "variant": "XS", "pooling": "mean"},
    "resnet": {"name": "resnet", "variant": "XS", "pooling": "mean"},
}
TEXT = {"variant": "tiny", "pooling": "cls"}
IMAGES = jax.random.normal(jax.random.key(0), (2, 48, 48, 1))
IDS = jnp.array([[2, 7, 9, 3], [2, 5, 3, 0]])
MASK = (IDS > 0).astype(jnp.int32)


def config(**overrides) -> ConfigDict:
    fields = {
        "embed_dim": 24,
        "image_encoder": ENCODERS["vit"],
        "text_encoder": TEXT,
        "projection": {"kind": "linear", "dropout": 0.1},
        "logit_scale_init": 2.5,
        "logit_bias_init": None,
        "remat": False,
        "scan_layers": False,
    }
    return ConfigDict(fields | overrides)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_interface(encoder):
    model = build_model(config(image_encoder=ENCODERS[encoder]), 30)
    variables = random_variables(model, IMAGES, IDS, MASK)
    assert isinstance(model, LumbarCLIP)
    assert set(variables["params"]) == {
        "image_encoder",
        "text_encoder",
        "image_projection",
        "text_projection",
        "logit_scale",
    }
    assert set(variables) - {"params"} == ({"batch_stats"} if encoder == "resnet" else set())
    out = jax.eval_shape(model.apply, variables, IMAGES, IDS, MASK)
    width = {"vit": 128, "swin": 128, "resnet": 256}[encoder]
    shapes = {
        "image_embeds": (2, 24),
        "text_embeds": (2, 24),
        "image_features": (2, width),
        "text_features": (2, 128),
        "logit_scale": (),
    }
    assert {name: array.shape for name, array in out.items()} == shapes
    assert {array.dtype.name for array in out.values()} == {"float32"}


def test_reduced_features_are_projected():
    """What an encoder pools through a kernel without bias, and the head on that."""
    model = build_model(config(feature_dim=10, text_encoder=TEXT | {"pooling": "mean"}), 30)
    variables = random_variables(model, IMAGES, IDS, MASK)
    out = model.apply(variables, IMAGES, IDS, MASK)
    for tower, inputs in (("image", (IMAGES,)), ("text", (IDS, MASK))):
        params = variables["params"]
        assert set(params[f"{tower}_reduction"]) == {"kernel"}
        encoder = getattr(model, f"{tower}_encoder")
        pooled = encoder.apply({"params": params[f"{tower}_encoder"]}, *inputs)["pooled"]
        features = pooled @ params[f"{tower}_reduction"]["kernel"]
        np.testing.assert_allclose(out[f"{tower}_features"], features, rtol=1e-4, atol=1e-5)
        head = params[f"{tower}_projection"]["fc1"]
        embeds = unit(features @ head["kernel"] + head["bias"][None])
        np.testing.assert_allclose(out[f"{tower}_embeds"], embeds, rtol=1e-4, atol=1e-5)


def test_the_head_of_texts_may_be_of_another_kind():
    projection = {"kind": "relu", "text_kind": "linear", "dropout": 0.0}
    params = random_variables(build_model(config(projection=projection), 30), IMAGES, IDS, MASK)[
        "params"
    ]
    assert set(params["image_projection"]) == {"fc1", "fc2"}
    assert set(params["text_projection"]) == {"fc1"}
    same = build_model(config(projection=projection | {"text_kind": ""}), 30)
    assert same.text_projection.kind == "relu"


def test_each_tower_alone_gives_what_both_give():
    model = build_model(config(), 30)
    variables = random_variables(model, IMAGES, IDS, MASK)

    @jax.jit
    def embed(variables):
        alone = model.apply(variables, IMAGES, method="encode_image")
        alone |= model.apply(variables, IDS, MASK, method="encode_text")
        return alone, model.apply(variables, IMAGES, IDS, MASK)

    alone, out = embed(variables)
    for name, value in alone.items():
        np.testing.assert_allclose(value, out[name], rtol=1e-5, atol=1e-6)
    for name in ("image_embeds", "text_embeds"):
        np.testing.assert_allclose(np.linalg.norm(out[name], axis=1), 1.0, rtol=1e-6)
    assert out["logit_scale"] == variables["params"]["logit_scale"]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_batch_size_may_be_symbolic(encoder):
    """As `jax.export` needs it for an artefact that takes batches of any size."""
    model = build_model(config(image_encoder=ENCODERS[encoder]), 30)
    variables = random_variables(model, IMAGES, IDS, MASK)
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, 48, 48, 1), jnp.float32)
    ids = jax.ShapeDtypeStruct((batch, 4), jnp.int32)
    exported = jax.export.export(jax.jit(model.apply))(variables, images, ids, ids)
    assert [str(array.shape) for array in exported.out_avals].count("(batch, 24)") == 2


def test_training_with_scan_remat_and_bfloat16_gives_finite_float32():
    settings = config(
        remat=True,
        scan_layers=True,
        image_encoder=ENCODERS["vit"] | {"drop_path": 0.1},
        projection={"kind": "mlp", "dropout": 0.1},
        logit_bias_init=-10.0,
    )
    model = build_model(settings, 30, jnp.bfloat16)
    variables = random_variables(model, IMAGES, IDS, MASK)

    def loss(params):
        out = model.apply(
            {"params": params}, IMAGES, IDS, MASK, train=True, rngs={"dropout": jax.random.key(1)}
        )
        logits = out["image_embeds"] @ out["text_embeds"].T * jnp.exp(out["logit_scale"])
        return jnp.sum(logits + out["logit_bias"])

    value, gradients = jax.jit(jax.value_and_grad(loss))(variables["params"])
    assert value.dtype == jnp.float32
    assert jax.tree.all(jax.tree.map(lambda g: bool(jnp.isfinite(g).all()), gradients))
    assert jax.tree.all(jax.tree.map(lambda g: g.dtype == jnp.float32, gradients))
    assert float(gradients["logit_bias"]) == 4.0


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_of_more_than_no_axes_has_documented_logical_names(encoder):
    overrides = {"image_encoder": ENCODERS[encoder], "scan_layers": True, "feature_dim": 8}
    model = build_model(config(**overrides), 30)
    boxed = jax.eval_shape(model.init, jax.random.key(0), IMAGES, IDS, MASK)["params"]
    documented = set(re.findall(r"^    (\w+)  ", layers.__doc__, re.MULTILINE)) | {None}
    leaves = jax.tree.leaves(boxed, is_leaf=lambda x: isinstance(x, meta.AxisMetadata))
    for leaf in leaves:
        if not isinstance(leaf, meta.AxisMetadata):
            assert leaf.shape == ()
            continue
        assert len(leaf.names) == leaf.value.ndim
        assert set(leaf.names) <= documented
        assert any(leaf.names)


def test_linear_projection():
    x = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    params = {"fc1": {"kernel": jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]]), "bias": jnp.ones(3)}}
    out = Projection(3, "linear").apply({"params": params}, x)
    assert out.tolist() == [[2.0, 3.0, 5.0], [4.0, 0.0, 6.0]]


def test_convirt_projection():
    x = jnp.array([[1.0, -2.0]])
    params = {"fc1": {"kernel": jnp.eye(2)}, "fc2": {"kernel": jnp.array([[3.0, 4.0], [5.0, 6.0]])}}
    assert Projection(2, "convirt").apply({"params": params}, x).tolist() == [[3.0, 4.0]]


def test_relu_projection():
    """Through as many features as come in, whatever comes out, and with biases."""
    x = jnp.array([[1.0, -2.0]])
    first = {"kernel": jnp.eye(2), "bias": jnp.array([1.0, 1.0])}
    second = {"kernel": jnp.array([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]), "bias": jnp.full(3, 0.5)}
    module = Projection(3, "relu")
    assert module.apply({"params": {"fc1": first, "fc2": second}}, x).tolist() == [[6.5, 8.5, 10.5]]


def test_mlp_projection():
    """LayerNorm(h + W2 GELU(h) + b2) with h = W1 x + b1, in numpy."""
    module = Projection(3, "mlp", dropout=0.5)
    x = jax.random.normal(jax.random.key(0), (2, 4))
    params = random_variables(module, x)["params"]
    out = module.apply({"params": params}, x)
    rngs = {"dropout": jax.random.key(2)}
    assert not np.allclose(module.apply({"params": params}, x, train=True, rngs=rngs), out)
    params = jax.tree.map(np.asarray, params)
    h = np.asarray(x) @ params["fc1"]["kernel"] + params["fc1"]["bias"]
    gelu = h * (1 + erf(h / np.sqrt(2))) / 2
    y = h + gelu @ params["fc2"]["kernel"] + params["fc2"]["bias"]
    normed = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
    expected = normed * params["norm"]["scale"] + params["norm"]["bias"]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_a_zero_embedding_has_a_finite_gradient():
    x = jnp.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(unit(x), [[0.0, 0.0], [0.6, 0.8]], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: unit(x).sum())(x)).all()


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="image encoder 'vgg' is not one of vit, swin, resnet"):
        build_model(config(image_encoder={"name": "vgg", "variant": "16", "pooling": "mean"}), 30)
    with pytest.raises(ValueError, match="projection kind 'cubic' is not one of linear, mlp"):
        build_model(config(projection={"kind": "cubic", "dropout": 0.0}), 30)
