"""Plain CLIP."""

import dataclasses
from typing import Any

from jaxtyping import Array, Float

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.objectives.contrast import ImageText, Pairs
from lumbarclip_jax.objectives.term import Batch, Params


@dataclasses.dataclass(frozen=True)
class Clip(ImageText):
    """`losses.clip`."""

    @property
    def units(self) -> float:
        """Those of soft CLIP with hard targets alone."""
        return 4 + 8

    def of_pairs(
        self, params: Params, pairs: Pairs, batch: Batch, form: dict[str, Any]
    ) -> Float[Array, ""]:
        return clip_loss(*pairs, params["logit_scale"], **form)
