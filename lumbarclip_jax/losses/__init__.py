"""Contrastive objectives: soft CLIP, plain CLIP and SigLIP, each exact at any batch size."""

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss

__all__ = ["clip_loss", "siglip_loss", "soft_clip_loss"]
