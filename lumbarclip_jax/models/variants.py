"""Published sizes of the encoders, and the small ones used for quick runs.

ViT: Dosovitskiy et al. 2021, table 1 (B, L); Touvron et al. 2021, table 1 (Ti, S).
Swin: Liu et al. 2021, section 3.3. ResNet: He et al. 2016, table 1.
BERT: Devlin et al. 2019 (base, large); Turc et al. 2019, arXiv 1908.08962 (tiny to medium).
"""

from typing import Any

# width, depth, heads, mlp_width
TRANSFORMERS = {
    "ViT": {
        "XS": (128, 4, 2, 512),
        "Ti": (192, 12, 3, 768),
        "S": (384, 12, 6, 1536),
        "B": (768, 12, 12, 3072),
        "L": (1024, 24, 16, 4096),
    },
    "BERT": {
        "tiny": (128, 2, 2, 512),
        "mini": (256, 4, 4, 1024),
        "small": (512, 4, 8, 2048),
        "medium": (512, 8, 8, 2048),
        "base": (768, 12, 12, 3072),
        "large": (1024, 24, 16, 4096),
    },
}


# width, stage_depths, stage_heads
SWIN = {
    "XS": (32, (2, 2, 2), (1, 2, 4)),
    "XS-deep": (32, (2, 2, 6), (1, 2, 4)),  # to XS what S and B are to T
    "T": (96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "S": (96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "B": (128, (2, 2, 18, 2), (4, 8, 16, 32)),
    "L": (192, (2, 2, 18, 2), (6, 12, 24, 48)),
}

# stem_width, stage_widths, stage_depths, block
RESNET = {
    "XS": (16, (64, 128, 256), (1, 1, 1), "bottleneck"),
    # ResNet-18 of half its width and without its last stage: for hundreds of patients, and a CPU.
    "small": (32, (32, 64, 128), (2, 2, 2), "basic"),
    "18": (64, (64, 128, 256, 512), (2, 2, 2, 2), "basic"),
    "34": (64, (64, 128, 256, 512), (3, 4, 6, 3), "basic"),
    "50": (64, (256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck"),
    "101": (64, (256, 512, 1024, 2048), (3, 4, 23, 3), "bottleneck"),
    "152": (64, (256, 512, 1024, 2048), (3, 8, 36, 3), "bottleneck"),
}


def vit_sizes(variant: str) -> dict[str, Any]:
    """Fields of `ViT` for a name such as "B/16" (size / patch side in pixels)."""
    size, _, patch = variant.partition("/")
    if not patch.isdigit() or int(patch) == 0:
        raise ValueError(
            f"ViT variant {variant!r} has no patch size: write size/patch, such as B/16"
        )
    return transformer_sizes("ViT", size) | {"patch_size": int(patch)}


def bert_sizes(variant: str) -> dict[str, Any]:
    """Fields of `Bert` for a name such as "base"."""
    return transformer_sizes("BERT", variant)


def swin_sizes(variant: str) -> dict[str, Any]:
    """Fields of `Swin` for a name such as "T": patches of 4 pixels, windows of 7 patches."""
    fields = ("width", "stage_depths", "stage_heads")
    return dict(zip(fields, lookup("Swin", variant, SWIN), strict=True))


def resnet_sizes(variant: str) -> dict[str, Any]:
    """Fields of `ResNet` for a name such as "50"."""
    fields = ("stem_width", "stage_widths", "stage_depths", "block")
    return dict(zip(fields, lookup("ResNet", variant, RESNET), strict=True))


def transformer_sizes(family: str, size: str) -> dict[str, int]:
    fields = ("width", "depth", "heads", "mlp_width")
    return dict(zip(fields, lookup(family, size, TRANSFORMERS[family]), strict=True))


def lookup(family: str, variant: str, sizes: dict[str, Any]) -> Any:
    """The sizes of a variant; an unknown one is a ValueError that lists those there are."""
    if variant not in sizes:
        raise ValueError(f"{family} variant {variant!r} is not one of {', '.join(sizes)}")
    return sizes[variant]
