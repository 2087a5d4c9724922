"""What is measured: the options of a comparison, and the config both sides run."""

import dataclasses
import runpy
from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

# Of the config's learning rate, in runs whose losses must agree. Adam's first updates are signs of
# gradients, of rounding where these vanish, and an untrained ResNet-50 amplifies them: at the full
# rate PyTorch is 1e-4 away from itself within four steps, after a change of its weights by 1e-7.
EXACT_LR_SHARE = 0.01

CONFIGS = ("vit_linear", "vit_mlp", "swin_linear", "swin_mlp", "resnet_linear", "resnet_mlp")


@dataclasses.dataclass(frozen=True)
class Options:
    """Of one comparison."""

    batch_size: int = 8  # pairs a step
    steps: int = 20  # timed, after those of the warm-up
    steps_per_turn: int = 1  # timed together, waiting for the device only after the last
    device: str = "cpu"  # cpu | cuda
    dtype: str = "float32"  # of the matrix products: float32 | bfloat16
    torch_compile: str = "off"  # off, or a mode of torch.compile
    is_random: bool = False  # dropout and augmentation as in training; losses then differ
    vocab_size: int = 30_522
    stored_size_px: int = 320  # side of the stored slices
    seed: int = 0


def load_config(name: str) -> ConfigDict:
    """The config of a run file such as "configs/vit_linear.py" or "configs/vit_linear.py:quick".

    Raises:
      FileNotFoundError, ValueError: there is no such file, or no such form of it.
    """
    path, _, form = name.partition(":")
    try:
        get_config = runpy.run_path(path)["get_config"]
    except FileNotFoundError as error:
        message = f"there is no config file {path}: run files are in configs/"
        raise FileNotFoundError(message) from error
    return get_config(form) if form else get_config()


def prepared(config: ConfigDict, options: Options) -> ConfigDict:
    """A copy of the config as both sides run it.

    Raises:
      ValueError: it asks for what the PyTorch side does not have.
    """
    config = ConfigDict(config.to_dict())
    config.data.global_batch_size = options.batch_size
    config.dtype = options.dtype
    if not options.is_random:
        config.optim.lr *= EXACT_LR_SHARE
        config.data.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0, mirror=False)
        config.data.augment.update(scale_up=None, rotate_deg=0.0, brightness=0.0, contrast=0.0)
        config.model.projection.dropout = 0.0
        config.model.image_encoder.drop_path = 0.0
    if absent := list(_absent_in_pytorch(config)):
        raise ValueError(
            f"{config.name} cannot be compared: the PyTorch side has no {', '.join(absent)}"
        )
    return config


def _absent_in_pytorch(config: ConfigDict) -> Iterator[str]:
    model, augment = config.model, config.data.augment
    for field, value, known in (
        ("model.feature_dim", model.feature_dim, (0,)),
        ("model.text_encoder.pool_layers", tuple(model.text_encoder.pool_layers), ((),)),
        ("model.text_encoder.pooling", model.text_encoder.pooling, ("cls", "mean", "last")),
        ("model.projection.kind", model.projection.kind, ("linear", "mlp")),
        ("model.projection.text_kind", model.projection.text_kind, ("", model.projection.kind)),
        ("data.augment.scale_up", augment.scale_up, (None, augment.scale)),
        ("data.augment.rotate_deg", augment.rotate_deg, (0,)),
        ("data.augment.brightness", augment.brightness, (0,)),
        ("data.augment.contrast", augment.contrast, (0,)),
    ):
        if value not in known:
            yield f"{field}={value!r}"


def batches(
    config: ConfigDict, options: Options, first: int, count: int
) -> Iterator[dict[str, np.ndarray]]:
    """Made-up batches number `first` and those after it; any process makes the same.

    Yields what `data.pipeline` does: `images` uint8 [B, 1, S, S, 1], `input_ids` and
    `attention_mask` int32 [B, 1, T], the texts between a quarter of T and T tokens long, and
    `report_group` int32 [B], of which some are equal.
    """
    pairs, tokens, side = options.batch_size, config.data.max_tokens, options.stored_size_px
    for number in range(first, first + count):
        rng = np.random.default_rng([options.seed, number])
        mask = np.arange(tokens) < rng.integers(max(3, tokens // 4), tokens + 1, (pairs, 1))
        ids = rng.integers(5, options.vocab_size, mask.shape)
        yield {
            "images": rng.integers(0, 256, (pairs, 1, side, side, 1), dtype=np.uint8),
            "input_ids": np.where(mask, ids, 0).astype(np.int32)[:, None],
            "attention_mask": mask.astype(np.int32)[:, None],
            "report_group": rng.integers(0, pairs, pairs, dtype=np.int32),
        }
