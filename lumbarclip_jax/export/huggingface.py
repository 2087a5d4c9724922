"""Encoders as folders that `transformers` loads, in the names and layouts of published checkpoints.

What lies on the encoders, which `transformers` has no class for, is one more file.
"""

import json
import math
import pathlib
import shutil

import jax
import numpy as np

from lumbarclip_jax.export import model_card
from lumbarclip_jax.models import unstack_layers
from lumbarclip_jax.models.patches import fit_positions
from lumbarclip_jax.models.pretrained import key_tables, weights_hf, weights_siglip
from lumbarclip_jax.models.pretrained.key_tables import Layout, Rule
from lumbarclip_jax.models.pretrained.published_encoder import MODULES
from lumbarclip_jax.models.vit import ViT
from lumbarclip_jax.run_folder import weights_file
from lumbarclip_jax.run_folder.files import VOCABULARY_FILE
from lumbarclip_jax.run_folder.run import Run

PROCESSOR = pathlib.Path(__file__).parent / "slice_processor.py"
ARCHITECTURES = {
    "bert": "BertModel",
    "vit": "ViTModel",
    "swin": "SwinModel",
    "resnet": "ResNetModel",
    weights_siglip.IMAGE_TOWER: "SiglipVisionModel",
}
FIELDS = weights_hf.FIELDS | weights_siglip.FIELDS
LAYOUTS = weights_hf.LAYOUTS | weights_siglip.LAYOUTS
PROJECTIONS = Layout(
    (
        *(
            Rule(f"{tower}_projection.{layer}", f"{tower}_projection/{layer}", kind)
            for tower in ("image", "text")
            for layer, kind in (("fc1", "linear"), ("fc2", "linear"), ("norm", "norm"))
        ),
        *(
            Rule(f"{tower}_reduction", f"{tower}_reduction", "linear")
            for tower in ("image", "text")
        ),
        Rule("logit_scale", "logit_scale", "array"),
        Rule("logit_bias", "logit_bias", "array"),
    )
)


def write(run: Run, folder: pathlib.Path) -> None:
    """Writes `image_encoder/`, `text_encoder/` with its tokenizer, and `projections.safetensors`.

    `image_encoder/` brings the processor of its images, so that a pipeline of `transformers` loads
    it, and a ViT's positions as they are for the size of these images.

    Raises:
      ValueError: an encoder that `transformers` has no equal of.
    """
    state = jax.device_get({"params": run.state.params, "batch_stats": run.state.batch_stats})
    params, batch_stats = unstack_layers(state["params"]), state["batch_stats"]
    _fit_positions(run.model.image_encoder, params["image_encoder"], run.config.data.image_size_px)
    for name in ("image_encoder", "text_encoder"):
        variables = {"params": params.pop(name), "batch_stats": batch_stats.get(name, {})}
        (folder / name).mkdir()
        write_encoder(
            folder / name, getattr(run.model, name), variables, run.config.data.image_size_px
        )
    # What is exported embeds; heads say classes of a data set's own.
    params = {name: tree for name, tree in params.items() if not name.startswith("head_")}
    _write_tensors(folder / "projections.safetensors", {"params": params}, PROJECTIONS)
    _write_processor(folder / "image_encoder", run)
    _write_tokenizer(folder / "text_encoder", run)
    model_card.write(
        run,
        folder,
        library="transformers",
        usage="huggingface.md.j2",
        projections={"image": run.model.image_projection, "text": run.model.text_projection},
        has_reductions=run.model.image_reduction is not None,
        image_family=family_of(run.model.image_encoder),
        image_pooling=run.model.image_encoder.pooling,
        text_pooling=run.model.text_encoder.pooling,
        pool_layers=run.model.text_encoder.pool_layers,
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
    if isinstance(module, ViT):
        # What its position table was made for; other sizes resample it. A class token is one row.
        side = math.isqrt(len(variables["params"]["position_embedding"]))
        fits = image_size_px // module.patch_size == side
        config["image_size"] = image_size_px if fits else side * module.patch_size
    if family == weights_siglip.IMAGE_TOWER:
        config["vision_use_head"] = module.pooling == "map"
    if family == "swin":
        _check_maps(module, image_size_px)
        config["image_size"] = image_size_px
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    _write_tensors(folder / "model.safetensors", variables, LAYOUTS[family])


def family_of(module) -> str:
    """The name of an encoder's family, by which `transformers` knows it too."""
    if isinstance(module, ViT) and not module.use_class_token:
        return weights_siglip.IMAGE_TOWER
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


def _write_tensors(path: pathlib.Path, variables: dict, layout: Layout) -> None:
    tensors, unknown = key_tables.to_published(variables, layout.rules)
    if unknown:
        raise ValueError(
            f"{path.name} has no place for {', '.join(unknown)}: export with --format=safetensors"
        )
    tensors = layout.restore(tensors)
    # A counter that PyTorch's batch normalisation keeps and, with a fixed momentum, never reads.
    norms = [key.removesuffix("running_var") for key in tensors if key.endswith(".running_var")]
    tensors |= {norm + "num_batches_tracked": np.array(0) for norm in norms}
    weights_file.save_tensors(path, tensors, {"format": "pt"})


def _fit_positions(module, params: dict, image_size_px: int) -> None:
    """Resamples a ViT's table once: the pipelines of `transformers` do not ask for it."""
    if isinstance(module, ViT):
        table, side = params["position_embedding"], image_size_px // module.patch_size
        fitted = fit_positions(table, int(module.use_class_token), (side, side))
        params["position_embedding"] = np.asarray(fitted)


def _write_processor(folder: pathlib.Path, run: Run) -> None:
    shutil.copyfile(PROCESSOR, folder / PROCESSOR.name)
    config = {
        # No class of transformers has this name, so none is taken in its place.
        "image_processor_type": "SliceProcessor",
        "auto_map": {"AutoImageProcessor": f"{PROCESSOR.stem}.SliceProcessor"},
        "slice_size_px": run.data_manifest["image"]["size_px"],
        "crop_px": run.config.data.crop_px,
        "image_size_px": run.config.data.image_size_px,
        "num_channels": run.model.image_encoder.in_channels,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _write_tokenizer(folder: pathlib.Path, run: Run) -> None:
    shutil.copyfile(run.folder / VOCABULARY_FILE, folder / VOCABULARY_FILE)
    config = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": run.config.data.lowercase,
        "model_max_length": run.tokenizer.max_tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
