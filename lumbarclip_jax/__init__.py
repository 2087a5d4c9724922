"""LumbarCLIP (arXiv 2509.20813) in JAX: contrastive pretraining of lumbar-spine MRI and reports.

Shape letters used throughout: B batch, H W C image, T tokens, D features, E shared embedding,
N heads.
"""

from lumbarclip_jax import xla_guard

__version__ = "0.1.0"

xla_guard.install()
