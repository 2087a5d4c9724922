"""An arm of the ablation in family.py: tcl, and labels put into words for a part of the texts.

python -m lumbarclip_jax.main --config=configs/family_prompts.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.prompts("family_prompts", size)
