"""One optimizer step, and what surrounds it; `lumbarclip_jax.train` has the story."""
