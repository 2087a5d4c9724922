"""ViT-B/16 + BERT-base with linear projection heads.

python -m lumbarclip_jax.main --config=configs/vit_linear.py --workdir=runs/vit_linear
python -m lumbarclip_jax.main --config=configs/vit_linear.py:quick
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "vit_linear"
    config.model.image_encoder.name = "vit"
    config.model.image_encoder.variant = "B/16"
    config.model.image_encoder.pooling = "cls"
    config.model.projection.kind = "linear"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS/8"
    return config
