"""ResNet-50 + BERT-base with linear heads, after the authors' public code.

What is theirs and what had to be chosen stands in configs/authors.py.

python -m lumbarclip_jax.main --config=configs/authors_resnet_linear.py \\
    --workdir=runs/authors_resnet_linear
python -m lumbarclip_jax.main --config=configs/authors_resnet_linear.py:quick
"""

from configs import authors


def get_config(size: str = "full"):
    return authors.base_config("authors_resnet_linear", "resnet", "50", "linear", size)
