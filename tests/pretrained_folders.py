"""Folders of tiny published checkpoints, written from the arrays recorded in tests/golden."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from tests.golden.cases import CASES

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = ("bert", "vit", "swin", "resnet")


def recorded(model: str, part: str) -> dict[str, np.ndarray]:
    """The recorded arrays whose names start with `part`, such as "weights/", less that part."""
    with np.load(GOLDEN / f"{model}.npz") as arrays:
        return {k.removeprefix(part): arrays[k] for k in arrays.files if k.startswith(part)}


def config(family: str, **overrides) -> dict:
    """The config.json that belongs to the recorded weights."""
    return {"model_type": family} | CASES[family].published | overrides


def write(
    folder: Path, family: str, tensors: dict[str, np.ndarray] | None = None, **overrides
) -> Path:
    """A folder with config.json and model.safetensors, by default the recorded ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(family, **overrides)))
    tensors = recorded(family, "weights/") if tensors is None else tensors
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_vocabulary(path: Path, size: int) -> None:
    """A BERT vocabulary of `size` tokens, most of them never used."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "disc", "bulge", "stenosis", "##s"]
    words += [f"[unused{i}]" for i in range(size - len(words))]
    path.write_text("\n".join(words) + "\n")


SIGLIP_TOWER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
# No field at its default, so that one that is not read changes the outputs.
SIGLIP = {
    "model_type": "siglip",
    "vision_config": SIGLIP_TOWER
    | {"model_type": "siglip_vision_model", "image_size": 32, "patch_size": 8}
    | {"layer_norm_eps": 1e-2},
    "text_config": SIGLIP_TOWER
    | {"model_type": "siglip_text_model", "vocab_size": 40, "max_position_embeddings": 12}
    | {"layer_norm_eps": 2e-2, "hidden_act": "gelu"},
}


def siglip_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a SigLIP, as `save_pretrained` of `SiglipModel` has them.

    `config` names all sizes.
    """
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": (1,), "logit_bias": (1,)}
    linear, norms = {}, {}
    for tower in ("vision", "text"):
        fields, prefix = config[f"{tower}_config"], f"{tower}_model."
        width, hidden = fields["hidden_size"], fields["intermediate_size"]
        for i in range(fields["num_hidden_layers"]):
            layer = f"{prefix}encoder.layers.{i}."
            parts = ("q_proj", "k_proj", "v_proj", "out_proj")
            linear |= {f"{layer}self_attn.{part}": (width, width) for part in parts}
            linear |= {f"{layer}mlp.fc1": (hidden, width), f"{layer}mlp.fc2": (width, hidden)}
            norms |= {f"{layer}layer_norm{j}": (width,) for j in (1, 2)}
        last = "post_layernorm" if tower == "vision" else "final_layer_norm"
        norms[prefix + last] = (width,)
        if tower == "vision":
            patch, head = fields["patch_size"], f"{prefix}head."
            linear[f"{prefix}embeddings.patch_embedding"] = (width, 3, patch, patch)
            patches = (fields["image_size"] // patch) ** 2
            shapes[f"{prefix}embeddings.position_embedding.weight"] = (patches, width)
            shapes[f"{head}probe"] = (1, 1, width)
            shapes[f"{head}attention.in_proj_weight"] = (3 * width, width)
            shapes[f"{head}attention.in_proj_bias"] = (3 * width,)
            linear |= {f"{head}attention.out_proj": (width, width)}
            linear |= {f"{head}mlp.fc1": (hidden, width), f"{head}mlp.fc2": (width, hidden)}
            norms[f"{head}layernorm"] = (width,)
        else:
            rows = {"token": fields["vocab_size"], "position": fields["max_position_embeddings"]}
            for name, count in rows.items():
                shapes[f"{prefix}embeddings.{name}_embedding.weight"] = (count, width)
            linear[f"{prefix}head"] = (fields.get("projection_size", width), width)
    shapes |= {f"{name}.weight": shape for name, shape in (linear | norms).items()}
    return shapes | {f"{name}.bias": shape[:1] for name, shape in (linear | norms).items()}


def write_siglip(folder: Path, **overrides) -> dict[str, np.ndarray]:
    """A folder of a tiny SigLIP, its config changed by `overrides`; returns its random tensors."""
    rng = np.random.default_rng(0)
    tensors = {
        key: rng.normal(0, 0.3, shape).astype(np.float32)
        for key, shape in siglip_shapes(SIGLIP).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(SIGLIP | overrides))
    save_file(tensors, folder / "model.safetensors")
    return tensors
