"""Published sizes of the encoders, and the small ones used for quick runs.

ViT: Dosovitskiy et al. 2021, table 1 (B, L); Touvron et al. 2021, table 1 (Ti, S).
BERT: Devlin et al. 2019 (base, large); Turc et al. 2019, arXiv 1908.08962 (tiny to medium).
"""

from typing import Any

# width, depth, heads, mlp_width
TRANSFORMERS = {
    "vit": {
        "XS": (128, 4, 2, 512),
        "Ti": (192, 12, 3, 768),
        "S": (384, 12, 6, 1536),
        "B": (768, 12, 12, 3072),
        "L": (1024, 24, 16, 4096),
    },
    "bert": {
        "tiny": (128, 2, 2, 512),
        "mini": (256, 4, 4, 1024),
        "small": (512, 4, 8, 2048),
        "medium": (512, 8, 8, 2048),
        "base": (768, 12, 12, 3072),
        "large": (1024, 24, 16, 4096),
    },
}


def vit_sizes(variant: str) -> dict[str, Any]:
    """Fields of `ViT` for a name such as "B/16" (size / patch side in pixels)."""
    size, _, patch = variant.partition("/")
    if not patch.isdigit() or int(patch) == 0:
        raise ValueError(
            f"ViT variant {variant!r} has no patch size: write size/patch, such as B/16"
        )
    return transformer_sizes("vit", size) | {"patch_size": int(patch)}


def bert_sizes(variant: str) -> dict[str, Any]:
    """Fields of `Bert` for a name such as "base"."""
    return transformer_sizes("bert", variant)


def transformer_sizes(family: str, size: str) -> dict[str, int]:
    fields = ("width", "depth", "heads", "mlp_width")
    return dict(zip(fields, lookup(family, size, TRANSFORMERS[family]), strict=True))


def lookup(family: str, variant: str, sizes: dict[str, Any]) -> Any:
    """The sizes of a variant; an unknown one is a ValueError that lists those there are."""
    if variant not in sizes:
        raise ValueError(f"{family} variant {variant!r} is not one of {', '.join(sizes)}")
    return sizes[variant]
