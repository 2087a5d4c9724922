"""ResNet-50 + BERT-base with a ReLU head of images, after the authors' public code.

The head of texts is linear. What is theirs and what had to be chosen stands in configs/authors.py.

python -m lumbarclip_jax.main --config=configs/authors_resnet_mlp.py \\
    --workdir=runs/authors_resnet_mlp
python -m lumbarclip_jax.main --config=configs/authors_resnet_mlp.py:quick
"""

from configs import authors


def get_config(size: str = "full"):
    return authors.base_config("authors_resnet_mlp", "resnet", "50", "relu", size)
