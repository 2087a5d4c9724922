"""An arm of the ablation in family.py: prompts, and SPIDER beside the axial slices.

python -m lumbarclip_jax.main --config=configs/family_second_data_set.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.second_data_set("family_second_data_set", size)
