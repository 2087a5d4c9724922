"""Published weights in our modules, by `from_hf`, `from_open_clip` and `from_siglip`."""

from lumbarclip_jax.models.pretrained.loading import from_hf, from_open_clip, from_siglip

__all__ = ["from_hf", "from_open_clip", "from_siglip"]
