"""Swin-B + BERT-base with a ReLU head of images, after the authors' public code.

The head of texts is linear. What is theirs and what had to be chosen stands in configs/authors.py.

python -m lumbarclip_jax.main --config=configs/authors_swin_b_mlp.py \\
    --workdir=runs/authors_swin_b_mlp
python -m lumbarclip_jax.main --config=configs/authors_swin_b_mlp.py:quick
"""

from configs import authors


def get_config(size: str = "full"):
    return authors.base_config("authors_swin_b_mlp", "swin", "B", "relu", size)
