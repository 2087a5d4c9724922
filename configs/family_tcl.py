"""An arm of the ablation in family.py: icl, and contrast among its texts: the loss of CXR-CLIP.

python -m lumbarclip_jax.main --config=configs/family_tcl.py:quick
"""

from configs import family


def get_config(size: str = "full"):
    return family.tcl("family_tcl", size)
