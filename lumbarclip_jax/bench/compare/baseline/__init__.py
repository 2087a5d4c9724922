"""LumbarCLIP in PyTorch, for comparison only: what a practised user of `transformers` would write.

The encoders are `BertModel`, `ViTModel`, `SwinModel` and `ResNetModel`, loaded from the folders
that `lumbarclip_jax.export.huggingface` writes, so both models start from the same weights. In
use: scaled dot-product attention, convolutions in channels-last order, bfloat16 autocast,
`torch.compile` and fused AdamW. Nothing here imports JAX. Needs the extra `torch`.
"""

try:
    import torch
    import transformers
except ImportError as error:
    raise ImportError(
        "the PyTorch baseline needs torch and transformers: pip install 'lumbarclip_jax[torch]'"
    ) from error

from lumbarclip_jax.bench.compare.baseline.model import LumbarCLIP
from lumbarclip_jax.bench.compare.baseline.trainer import Trainer

__all__ = ["LumbarCLIP", "Trainer", "torch", "transformers"]
