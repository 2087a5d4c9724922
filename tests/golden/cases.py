"""The tiny models of the parity tests: published config, our fields for the same, and inputs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.core import meta

from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.pretrained import weights_hf
from lumbarclip_jax.models.pretrained.key_tables import Rule
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.vit import ViT


@dataclasses.dataclass(frozen=True)
class Case:
    family: str
    published: dict[str, Any]  # fields of the Hugging Face config
    module: Any  # our encoder of the same size
    table: tuple[Rule, ...]
    image_shape: tuple[int, int] | None = None  # None: the inputs are texts
    train: bool = False


TRANSFORMER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
SIZES = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 24, "pooling": "pooler"}

CASES = {
    "bert": Case(
        "bert",
        TRANSFORMER | {"vocab_size": 40, "max_position_embeddings": 16},
        Bert(40, **SIZES, max_positions=16),
        weights_hf.BERT,
    ),
    # Images of another shape than the position table's 4 x 4 patches, with a remainder.
    "vit": Case(
        "vit",
        TRANSFORMER | {"patch_size": 4, "image_size": 16},
        ViT(**SIZES, patch_size=4),
        weights_hf.VIT,
        image_shape=(22, 13),
    ),
    # 13 x 11 patches: padded to whole windows, shifted, padded again to merge.
    "swin": Case(
        "swin",
        {"embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "patch_size": 2, "window_size": 3},
        Swin(8, (2, 2), (1, 2), patch_size=2, window=3),
        weights_hf.SWIN,
        image_shape=(25, 22),
    ),
    "resnet": Case(
        "resnet",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1]},
        ResNet(8, (16, 32), (2, 1)),
        weights_hf.RESNET,
        image_shape=(37, 30),
    ),
    "resnet_train": Case(
        "resnet",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [2, 1]},
        ResNet(8, (16, 32), (2, 1)),
        weights_hf.RESNET,
        image_shape=(37, 30),
        train=True,
    ),
}


def inputs(case: Case) -> dict[str, np.ndarray]:
    """Two random images, or two random texts of which the second is padded."""
    rng = np.random.default_rng(0)
    if case.image_shape:
        return {"images": rng.normal(0.3, 1.0, (2, *case.image_shape, 3)).astype(np.float32)}
    mask = np.ones((2, 12), np.int32)
    mask[1, 7:] = 0
    ids = rng.integers(1, case.module.vocab_size, mask.shape, dtype=np.int32)
    return {
        # Only padding has id 0: PyTorch keeps that row of the table from getting a gradient.
        "input_ids": ids * mask,
        "attention_mask": mask,
        "token_type_ids": (np.arange(12, dtype=np.int32) > 5) * np.ones_like(mask),
    }


def probe(shape: tuple[int, ...]) -> np.ndarray:
    """Fixed weights that turn an output into a scalar loss: sum(output * probe)."""
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def random_variables(module: nn.Module, *inputs: Any) -> dict[str, Any]:
    """Variables of the module with small random values, drawn by numpy.

    Compiling `module.init` would take longer than the test it serves.
    """
    rng = np.random.default_rng(0)
    shapes = meta.unbox(jax.eval_shape(module.init, jax.random.key(0), *inputs))

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        centre = 1.0 if path[-1].key in ("scale", "var") else 0.0
        return jnp.asarray(centre + rng.uniform(-0.3, 0.3, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)
