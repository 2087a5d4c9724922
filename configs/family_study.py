"""An arm of the ablation in family.py: base, on three discs of a study pooled by attention.

python -m lumbarclip_jax.main --config=configs/family_study.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.study("family_study", size)
