"""ResNet-50 + BERT-base after CXR-CLIP: two images and two texts a study, ICL and TCL.

python -m lumbarclip_jax.main --config=configs/cxr_clip_resnet.py --config.data.dir=DIR
python -m lumbarclip_jax.main --config=configs/cxr_clip_resnet.py:quick
"""

from configs import cxr_clip


def get_config(size: str = "full"):
    return cxr_clip.base_config("cxr_clip_resnet", "resnet", "50", size)
