"""An arm of the ablation in family.py: views, and contrast among the images of a study.

python -m lumbarclip_jax.main --config=configs/family_icl.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.icl("family_icl", size)
