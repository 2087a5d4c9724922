"""SigLIP, which asks of every pairing whether it is a pair."""

import dataclasses
from typing import Any

from jaxtyping import Array, Float

from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.objectives.contrast import ImageText, Pairs
from lumbarclip_jax.objectives.term import Batch, Params


@dataclasses.dataclass(frozen=True)
class SigLip(ImageText):
    """`losses.siglip`; its bias is a parameter of the model, see `model.logit_bias_init`."""

    learned = ("logit_scale", "logit_bias")

    @property
    def units(self) -> float:
        """Logits of one orientation, and in the backward pass of both."""
        return 2 + 8

    def of_pairs(
        self, params: Params, pairs: Pairs, batch: Batch, form: dict[str, Any]
    ) -> Float[Array, ""]:
        return siglip_loss(*pairs, params["logit_scale"], params["logit_bias"], **form)
