"""ResNet-50 + BERT-base with linear projection heads.

python -m lumbarclip_jax.main --config=configs/resnet_linear.py --workdir=runs/resnet_linear
python -m lumbarclip_jax.main --config=configs/resnet_linear.py:quick
"""

from configs import base


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "resnet_linear"
    config.model.image_encoder.name = "resnet"
    config.model.image_encoder.variant = "50"
    config.model.image_encoder.pooling = "mean"
    config.model.projection.kind = "linear"
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS"
    return config
