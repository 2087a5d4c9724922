"""ViT-B/16 + BERT-base with linear projection heads: the combination LumbarCLIP reports as best.

python -m lumbarclip_jax.main --config=configs/vit_linear.py --workdir=runs/vit_linear
python -m lumbarclip_jax.main --config=configs/vit_linear.py:quick    # minutes on two CPU cores
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "vit_linear"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS/16"
    return config
