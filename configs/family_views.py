"""An arm of the ablation in family.py: base, and a second disc and a second text of every study.

python -m lumbarclip_jax.main --config=configs/family_views.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.views("family_views", size)
