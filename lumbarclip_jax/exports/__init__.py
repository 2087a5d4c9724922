"""Trained models in the formats others read, one module each; `lumbarclip_jax.export` calls them.

Every module has `write(run, folder)`, which fills an empty folder; `classifier` takes a classifier.
"""
