"""Contrast among the images of a study."""

import dataclasses

from lumbarclip_jax.objectives.contrast import Views


@dataclasses.dataclass(frozen=True)
class Icl(Views):
    """Image contrastive loss: two images of a study are told from those of others.

    CXR-CLIP, arXiv 2310.13292. It asks for `data.image_views` of at least 2.
    """

    compares = ("image_embeds",)
    least_views = (2, 1)
