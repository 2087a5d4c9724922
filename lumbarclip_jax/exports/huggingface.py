"""Encoders as folders that `transformers` loads, in the names and layouts of published checkpoints.

The projections and the scale, which `transformers` has no class for, are one more file.
"""

import json
import pathlib
import shutil

import jax
import numpy as np
import safetensors.numpy

from lumbarclip_jax.exports import model_card
from lumbarclip_jax.models import key_tables, unstack_layers
from lumbarclip_jax.models.key_tables import Rule
from lumbarclip_jax.models.published_encoder import MODULES
from lumbarclip_jax.models.weights_hf import FIELDS, LAYOUTS
from lumbarclip_jax.run import VOCABULARY_FILE, Run

ARCHITECTURES = {
    "bert": "BertModel",
    "vit": "ViTModel",
    "swin": "SwinModel",
    "resnet": "ResNetModel",
}
PROJECTIONS = (
    *(
        Rule(f"{tower}_projection.{layer}", f"{tower}_projection/{layer}", kind)
        for tower in ("image", "text")
        for layer, kind in (("fc1", "linear"), ("fc2", "linear"), ("norm", "norm"))
    ),
    Rule("logit_scale", "logit_scale", "array"),
    Rule("logit_bias", "logit_bias", "array"),
)


def write(run: Run, folder: pathlib.Path) -> None:
    """Writes `image_encoder/`, `text_encoder/` with its tokenizer, and `projections.safetensors`.

    Raises:
      ValueError: an encoder that `transformers` has no equal of.
    """
    state = jax.device_get({"params": run.state.params, "batch_stats": run.state.batch_stats})
    params, batch_stats = unstack_layers(state["params"]), state["batch_stats"]
    for name in ("image_encoder", "text_encoder"):
        variables = {"params": params.pop(name), "batch_stats": batch_stats.get(name, {})}
        (folder / name).mkdir()
        write_encoder(
            folder / name, getattr(run.model, name), variables, run.config.data.image_size_px
        )
    _write_tensors(folder / "projections.safetensors", {"params": params}, PROJECTIONS)
    _write_tokenizer(folder / "text_encoder", run)
    model_card.write(
        run,
        folder,
        usage="huggingface.md.j2",
        projection=run.model.image_projection.kind,
        image_family=family_of(run.model.image_encoder),
        image_pooling=run.model.image_encoder.pooling,
        text_pooling=run.model.text_encoder.pooling,
    )


def write_encoder(folder: pathlib.Path, module, variables: dict, image_size_px: int) -> None:
    """Writes one encoder as `config.json` and `model.safetensors`.

    Args:
      folder: an existing folder.
      module: a `Bert`, `ViT`, `Swin` or `ResNet`, which says all that weights do not.
      variables: its host arrays, {"params": ..., "batch_stats": ...}, one `layer_i` a layer.
      image_size_px: side of the images it is used with.

    Raises:
      ValueError: a parameter that `transformers` does not have, or images it cannot take.
    """
    family = family_of(module)
    sizes = {theirs: getattr(module, ours) for ours, (theirs, _) in FIELDS[family].sizes.items()}
    config = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "dtype": "float32",
        **FIELDS[family].fixed,
        **sizes,
    }
    if family == "vit":
        # The size its position table was made for; other sizes resample it.
        side = round((len(variables["params"]["position_embedding"]) - 1) ** 0.5)
        config["image_size"] = side * module.patch_size
    if family == "swin":
        _check_maps(module, image_size_px)
        config["image_size"] = image_size_px
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    _write_tensors(folder / "model.safetensors", variables, LAYOUTS[family].rules)


def family_of(module) -> str:
    """The name of an encoder's family, by which `transformers` knows it too."""
    return next(name for name, family in MODULES.items() if isinstance(module, family))


def _check_maps(swin, image_size_px: int) -> None:
    side = -(-image_size_px // swin.patch_size)
    for _ in swin.stage_depths[1:]:
        side = -(-side // 2)
    if side < swin.window:
        raise ValueError(
            f"the last feature map of {image_size_px} px images is {side} x {side}, smaller than "
            f"the window of {swin.window}, which stops the Swin of transformers: export with "
            "--format=safetensors or --format=stablehlo"
        )


def _write_tensors(path: pathlib.Path, variables: dict, table: tuple[Rule, ...]) -> None:
    tensors, unknown = key_tables.to_published(variables, table)
    if unknown:
        raise ValueError(
            f"{path.name} has no place for {', '.join(unknown)}: export with --format=safetensors"
        )
    # A counter that PyTorch's batch normalisation keeps and, with a fixed momentum, never reads.
    norms = [key.removesuffix("running_var") for key in tensors if key.endswith(".running_var")]
    tensors |= {norm + "num_batches_tracked": np.array(0) for norm in norms}
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})


def _write_tokenizer(folder: pathlib.Path, run: Run) -> None:
    shutil.copy(run.folder / VOCABULARY_FILE, folder)
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": run.config.data.lowercase,
        "model_max_length": run.tokenizer.max_tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
