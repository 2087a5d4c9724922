"""The encoders against PyTorch at their published sizes, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax.models import stack_layers
from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.pretrained import key_tables, weights_hf
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.variants import bert_sizes, resnet_sizes, swin_sizes, vit_sizes
from lumbarclip_jax.models.vit import ViT

pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import (
    BertConfig,
    BertModel,
    ResNetConfig,
    ResNetModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from tests.golden import reference
from tests.golden.cases import probe

pytestmark = pytest.mark.slow

IMAGES = {"images": np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32)}
TEXTS = {
    "input_ids": np.random.default_rng(0).integers(1, 30522, (2, 20), dtype=np.int32),
    "attention_mask": (np.arange(20) < np.array([[20], [13]])).astype(np.int32),
}

MODELS = {
    "vit": (
        lambda: ViTModel(ViTConfig()),
        ViT(**vit_sizes("B/16"), pooling="pooler"),
        weights_hf.VIT,
        IMAGES,
    ),
    "swin": (lambda: SwinModel(SwinConfig()), Swin(**swin_sizes("T")), weights_hf.SWIN, IMAGES),
    "resnet": (
        lambda: ResNetModel(ResNetConfig()),
        ResNet(**resnet_sizes("50")),
        weights_hf.RESNET,
        IMAGES,
    ),
    "bert": (
        lambda: BertModel(BertConfig()),
        Bert(30522, **bert_sizes("base"), pooling="pooler"),
        weights_hf.BERT,
        TEXTS,
    ),
}


def error(actual, expected) -> float:
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("family", MODELS)
def test_every_level_of_a_published_size(family):
    make, module, table, inputs = MODELS[family]
    expected = reference.run(reference.randomise(make(), 0.01), inputs, gradients=False)
    weights = {k.removeprefix("weights/"): a for k, a in expected.items() if "weights/" in k}
    variables, unknown = key_tables.to_flax(weights, table)
    assert unknown == []

    @jax.jit
    def apply(variables, inputs):
        return module.apply(variables, **inputs, mutable="intermediates")

    out, sown = apply(variables, inputs)
    assert error(out["last_hidden_state"], expected["last_hidden_state"]) <= 1e-5
    assert error(out["pooled"], expected["pooled"]) <= 1e-5
    sown = sown["intermediates"]
    layers = [f"layer_{i}" for i in range(len(sown)) if f"layer_{i}" in sown]
    levels = [*sown["hidden_states"], *(sown[layer]["hidden_states"][0] for layer in layers)]
    assert len(levels) == sum("levels/" in key for key in expected)
    for index, level in enumerate(levels):
        assert error(level, expected[f"levels/{index}"]) <= 1e-5, index


def test_gradients_of_resnet_50_in_training_mode():
    make, module, table, _ = MODELS["resnet"]
    images = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype(np.float32)
    model = reference.randomise(make(), 0.01).train()
    # Offsets that keep nearly every ReLU open: among millions of units some inputs lie within
    # rounding of 0, and with those PyTorch's own float32 and float64 gradients differ by 3 %.
    for name, parameter in model.named_parameters():
        if name.endswith("normalization.bias"):
            parameter.data += 4.0
    expected = reference.run(model, {"images": images})
    check_gradients(module, table, expected, train=True)


def test_gradients_of_vit_b_16_with_scanned_layers():
    make, module, table, _ = MODELS["vit"]
    images = {"images": IMAGES["images"][:, :96, :64]}
    expected = reference.run(reference.randomise(make(), 0.01), images)
    check_gradients(module.clone(scan_layers=True), table, expected, train=False)


def check_gradients(module, table, expected, train):
    weights = {k.removeprefix("weights/"): a for k, a in expected.items() if "weights/" in k}
    variables, _ = key_tables.to_flax(weights, table)
    stats = {"batch_stats": jax.tree.map(jnp.asarray, variables.get("batch_stats", {}))}
    images = jnp.asarray(expected["inputs/images"])

    def loss(params):
        if getattr(module, "scan_layers", False):
            params = stack_layers(params)
        out, _ = module.apply({"params": params} | stats, images, train=train, mutable=[*stats])
        last, pooled = out["last_hidden_state"], out["pooled"]
        return jnp.sum(last * probe(last.shape)) + jnp.sum(pooled * probe(pooled.shape))

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    actual, _ = key_tables.to_published({"params": gradients}, table)
    largest = max(np.linalg.norm(gradient) for gradient in actual.values())
    for key, gradient in actual.items():
        wanted = expected[f"gradients/{key}"]
        difference = np.linalg.norm(gradient - wanted)
        assert difference <= 1e-4 * np.linalg.norm(wanted) + 1e-6 * largest, key
