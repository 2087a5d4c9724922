"""Contrastive losses: soft CLIP, plain CLIP and SigLIP, each exact at any batch size.

Each is a function in the module of its name. Here are the names of their options alone.
"""

from typing import Literal, get_args

# How a loss is computed, see `forms`.
Method = Literal["auto", "dense", "blockwise", "gather", "ring"]
METHODS: tuple[Method, ...] = get_args(Method)

# Which way the soft targets of soft CLIP are normalised, see `soft_clip`.
Targets = Literal["row", "transposed"]
TARGETS: tuple[Targets, ...] = get_args(Targets)
