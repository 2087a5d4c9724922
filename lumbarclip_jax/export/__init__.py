"""Trained models in the formats that others read, one module each; `export` calls them.

Every module has `write(run, folder)`, which fills an empty folder; `classifier` takes a classifier.
"""

from lumbarclip_jax.export.folder import FORMATS, export

__all__ = ["FORMATS", "export"]
