"""Trained models in the formats that others read; `export` makes the folder and calls them.

`huggingface`, `safetensors` and `stablehlo` have `write(run, folder)`, `classifier` has
`write(classifier, folder)`: each fills an empty folder.
"""

from lumbarclip_jax.export.folder import FORMATS, export

__all__ = ["FORMATS", "export"]
