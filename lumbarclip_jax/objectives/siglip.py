"""SigLIP, which asks of every pairing whether it is a pair."""

import dataclasses

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.objectives.contrast import Contrast
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, pairs


@dataclasses.dataclass(frozen=True)
class SigLip(Contrast):
    """`losses.siglip`; its bias is a parameter of the model, see `model.logit_bias_init`."""

    learned = ("logit_scale", "logit_bias")

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        scalars = (params["logit_scale"], params["logit_bias"])
        return siglip_loss(*pairs(outputs), *scalars, **self.form(batch, mesh))

    def flops(self, batch_size: int, embed_dim: int) -> float:
        """Logits of one orientation, and in the backward pass of both."""
        return (2 + 8) * batch_size**2 * embed_dim
