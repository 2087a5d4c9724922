"""Folders that `transformers` itself wrote, with and without task heads, against its models."""

import jax
import numpy as np
import pytest

from lumbarclip_jax.models.pretrained.loading import from_hf
from tests.golden.cases import CASES, inputs

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from tests.golden.reference import channels_last, randomise

CLASSES = {
    "bert": (
        "BertModel",
        "BertForPreTraining",
        "BertForMaskedLM",
        "BertForNextSentencePrediction",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
    ),
    "vit": ("ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling"),
    "swin": ("SwinModel", "SwinForImageClassification", "SwinForMaskedImageModeling"),
    "resnet": ("ResNetModel", "ResNetForImageClassification"),
}
CONFIGS = {"bert": "BertConfig", "vit": "ViTConfig", "swin": "SwinConfig", "resnet": "ResNetConfig"}


def relative_error(actual, expected) -> float:
    expected = expected.detach().numpy()
    actual = np.asarray(actual).reshape(expected.shape)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(
    ("family", "name", "options"),
    [
        *((family, name, {}) for family, names in CLASSES.items() for name in names),
        ("resnet", "ResNetModel", {"layer_type": "basic"}),
    ],
)
def test_every_class_gives_its_encoder(tmp_path, family, name, options):
    config = getattr(transformers, CONFIGS[family])(**CASES[family].published | options)
    torch.manual_seed(0)
    model = randomise(getattr(transformers, name)(config))
    model.save_pretrained(tmp_path)
    module, variables = from_hf(tmp_path)

    arrays = inputs(CASES[family])
    tensors = {key: torch.tensor(array) for key, array in arrays.items()}
    if "images" in arrays:
        tensors = {"pixel_values": tensors["images"].permute(0, 3, 1, 2)}
    if family == "vit":
        tensors["interpolate_pos_encoding"] = True
    with torch.no_grad():
        expected = model.base_model(**tensors)
    out = jax.jit(module.apply)(variables, **arrays)
    last = channels_last(expected.last_hidden_state)
    assert relative_error(out["last_hidden_state"], last) <= 1e-5
    pooled = expected.pooler_output
    if pooled is None:
        pooled = last.mean(1) if family == "swin" else last[:, 0]
    assert relative_error(out["pooled"], pooled.flatten(1)) <= 1e-5


def test_a_sharded_folder_of_transformers(tmp_path):
    model = transformers.BertModel(transformers.BertConfig(**CASES["bert"].published))
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    _, variables = from_hf(tmp_path)
    words = variables["params"]["word_embedding"]["embedding"]
    np.testing.assert_array_equal(words, model.embeddings.word_embeddings.weight.detach().numpy())
