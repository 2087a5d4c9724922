"""Plain CLIP."""

import dataclasses

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.objectives.contrast import Contrast
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, pairs


@dataclasses.dataclass(frozen=True)
class Clip(Contrast):
    """`losses.clip`."""

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        return clip_loss(*pairs(outputs), params["logit_scale"], **self.form(batch, mesh))

    def flops(self, batch_size: int, embed_dim: int) -> float:
        """Those of soft CLIP with hard targets alone."""
        return (4 + 8) * batch_size**2 * embed_dim
