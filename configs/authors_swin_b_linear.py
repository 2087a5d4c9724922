"""Swin-B + BERT-base with linear heads, after the authors' public code.

What is theirs and what had to be chosen stands in configs/authors.py.

python -m lumbarclip_jax.main --config=configs/authors_swin_b_linear.py \\
    --workdir=runs/authors_swin_b_linear
python -m lumbarclip_jax.main --config=configs/authors_swin_b_linear.py:quick
"""

from configs import authors


def get_config(size: str = "full"):
    return authors.base_config("authors_swin_b_linear", "swin", "B", "linear", size)
