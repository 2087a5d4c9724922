"""Swin-T + BERT-base with linear heads, after the authors' public code.

Their code calls this encoder "ViT": it is microsoft/swin-tiny-patch4-window7-224. Its head gives
512 features there and the head of texts 1,024, which cannot be multiplied; here both give 1,024.
What is theirs and what had to be chosen stands in configs/authors.py.

python -m lumbarclip_jax.main --config=configs/authors_swin_t_linear.py \\
    --workdir=runs/authors_swin_t_linear
python -m lumbarclip_jax.main --config=configs/authors_swin_t_linear.py:quick
"""

from configs import authors


def get_config(size: str = "full"):
    return authors.base_config("authors_swin_t_linear", "swin", "T", "linear", size)
