"""An arm of the ablation in family.py: base, on three discs of a study pooled by mean.

python -m lumbarclip_jax.main --config=configs/family_study_mean.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.study("family_study_mean", size, "mean")
