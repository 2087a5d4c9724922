"""An arm of the ablation in family.py: base, and supervised contrast by a task of the patient.

python -m lumbarclip_jax.main --config=configs/family_sup_con.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.sup_con("family_sup_con", size)
