"""An arm of the ablation in family.py: base, and classification of a task of the patient.

python -m lumbarclip_jax.main --config=configs/family_labels.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.labels("family_labels", size)
