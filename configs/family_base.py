"""An arm of the ablation in family.py: plain CLIP of one image and one report.

python -m lumbarclip_jax.main --config=configs/family_base.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.base_arm("family_base", size)
