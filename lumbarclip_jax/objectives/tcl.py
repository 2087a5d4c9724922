"""Contrast among the texts of a study."""

import dataclasses

from lumbarclip_jax.objectives.contrast import Views


@dataclasses.dataclass(frozen=True)
class Tcl(Views):
    """Text contrastive loss: two texts of a study are told from those of others.

    CXR-CLIP, arXiv 2310.13292. It asks for `data.text_views` of at least 2.
    """

    compares = ("text_embeds",)
    least_views = (1, 2)
