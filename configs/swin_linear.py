"""Swin-T + BERT-base with linear projection heads.

python -m lumbarclip_jax.main --config=configs/swin_linear.py --workdir=runs/swin_linear
python -m lumbarclip_jax.main --config=configs/swin_linear.py:quick
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "swin_linear"
    config.model.image_encoder.name = "swin"
    config.model.image_encoder.variant = "T"
    config.model.image_encoder.pooling = "mean"
    config.model.projection.kind = "linear"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS"
    return config
