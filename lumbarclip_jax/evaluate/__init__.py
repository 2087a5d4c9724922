"""Measuring what lies in a folder: `python -m lumbarclip_jax.evaluate`."""
