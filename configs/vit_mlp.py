"""ViT-B/16 + BERT-base with non-linear (residual GELU) projection heads.

python -m lumbarclip_jax.main --config=configs/vit_mlp.py --workdir=runs/vit_mlp
python -m lumbarclip_jax.main --config=configs/vit_mlp.py:quick
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "vit_mlp"
    config.model.image_encoder.name = "vit"
    config.model.image_encoder.variant = "B/16"
    config.model.image_encoder.pooling = "cls"
    config.model.projection.kind = "mlp"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS/8"
    return config
