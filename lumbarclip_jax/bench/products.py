"""The matrix products of the dense layers and convolutions of a model, by shape."""

import dataclasses
import math
from collections import Counter

from ml_collections import ConfigDict

from lumbarclip_jax.models.lumbarclip import sizes_of
from lumbarclip_jax.models.variants import bert_sizes, resnet_sizes, swin_sizes, vit_sizes


@dataclasses.dataclass(frozen=True)
class Product:
    """[rows, inner] x [inner, columns]."""

    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        return 2.0 * self.rows * self.inner * self.columns


def model_products(config: ConfigDict, batch: int, channels: int = 1) -> Counter[Product]:
    """How often each product occurs in one forward pass of both encoders on `batch` pairs.

    A convolution is the product of its patches and its kernel. Products of attention weights and
    those of the projection heads are left out: a few percent, in shapes of their own.
    """
    encoder, size_px = config.model.image_encoder, config.data.image_size_px
    if encoder.name == "vit":
        image = _vit(sizes_of(encoder, vit_sizes), batch, size_px, channels)
    elif encoder.name == "swin":
        image = _swin(sizes_of(encoder, swin_sizes), batch, size_px, channels)
    else:
        image = _resnet(sizes_of(encoder, resnet_sizes), batch, size_px, channels)
    text = sizes_of(config.model.text_encoder, bert_sizes)
    return image + _blocks(
        text["depth"], batch * config.data.max_tokens, text["width"], text["mlp_width"]
    )


def _blocks(depth: int, rows: int, width: int, mlp_width: int) -> Counter[Product]:
    return Counter(
        {
            Product(rows, width, width): 4 * depth,
            Product(rows, width, mlp_width): depth,
            Product(rows, mlp_width, width): depth,
        }
    )


def _vit(sizes: dict, batch: int, size_px: int, channels: int) -> Counter[Product]:
    patch, width = sizes["patch_size"], sizes["width"]
    patches = (size_px // patch) ** 2
    stem = Counter([Product(batch * patches, patch**2 * channels, width)])
    return stem + _blocks(sizes["depth"], batch * (1 + patches), width, sizes["mlp_width"])


def _swin(sizes: dict, batch: int, size_px: int, channels: int) -> Counter[Product]:
    patch, window, width = sizes.get("patch_size", 4), sizes.get("window", 7), sizes["width"]
    side = math.ceil(size_px / patch)
    products = Counter([Product(batch * side**2, patch**2 * channels, width)])
    for stage, depth in enumerate(sizes["stage_depths"]):
        padded = math.ceil(side / window) * window
        products[Product(batch * padded**2, width, width)] += 4 * depth
        products[Product(batch * side**2, width, 4 * width)] += depth
        products[Product(batch * side**2, 4 * width, width)] += depth
        if stage < len(sizes["stage_depths"]) - 1:
            side = math.ceil(side / 2)
            products[Product(batch * side**2, 4 * width, 2 * width)] += 1
            width *= 2
    return products


def _resnet(sizes: dict, batch: int, size_px: int, channels: int) -> Counter[Product]:
    side, width_in = math.ceil(size_px / 2), sizes["stem_width"]
    products = Counter([Product(batch * side**2, 49 * channels, width_in)])
    side = math.ceil(side / 2)
    stages = zip(sizes["stage_widths"], sizes["stage_depths"], strict=True)
    for stage, (width, depth) in enumerate(stages):
        inner = width // 4
        for index in range(depth):
            strided = math.ceil(side / 2) if stage > 0 and index == 0 else side
            if sizes["block"] == "basic":
                products[Product(batch * strided**2, 9 * width_in, width)] += 1
                products[Product(batch * strided**2, 9 * width, width)] += 1
            else:
                products[Product(batch * side**2, width_in, inner)] += 1
                products[Product(batch * strided**2, 9 * inner, inner)] += 1
                products[Product(batch * strided**2, inner, width)] += 1
            if width_in != width or strided != side:
                products[Product(batch * strided**2, width_in, width)] += 1
            side, width_in = strided, width
    return products
