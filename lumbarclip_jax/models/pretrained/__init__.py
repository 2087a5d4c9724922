"""Published weights in our modules: `from_hf` and `from_open_clip` are the way in."""

from lumbarclip_jax.models.pretrained.loading import from_hf, from_open_clip

__all__ = ["from_hf", "from_open_clip"]
