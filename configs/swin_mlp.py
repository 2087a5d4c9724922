"""Swin-T + BERT-base with non-linear (residual GELU) projection heads.

python -m lumbarclip_jax.main --config=configs/swin_mlp.py --workdir=runs/swin_mlp
python -m lumbarclip_jax.main --config=configs/swin_mlp.py:quick
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "swin_mlp"
    config.model.image_encoder.name = "swin"
    config.model.image_encoder.variant = "T"
    config.model.image_encoder.pooling = "mean"
    config.model.projection.kind = "mlp"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS"
    return config
