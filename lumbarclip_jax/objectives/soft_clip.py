"""Soft CLIP, the loss of LumbarCLIP: targets softened by how alike the pairs are."""

import dataclasses
from collections.abc import Iterator

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.losses import TARGETS, Targets
from lumbarclip_jax.losses.soft_clip import soft_clip_loss
from lumbarclip_jax.objectives.contrast import Contrast
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, between, one_of, pairs


@dataclasses.dataclass(frozen=True)
class SoftClip(Contrast):
    """`losses.soft_clip`, which says what the settings do."""

    target_scale: float = 10.0
    targets: Targets = "row"
    detach_targets: bool = True
    hard_weight: float = 0.9

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        yield from one_of("targets", self.targets, TARGETS)
        yield from between("target_scale", self.target_scale, 0)
        yield from between("hard_weight", self.hard_weight, 0, 1)

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        return soft_clip_loss(
            *pairs(outputs),
            params["logit_scale"],
            target_scale=self.target_scale,
            targets=self.targets,
            detach_targets=self.detach_targets,
            hard_weight=self.hard_weight,
            **self.form(batch, mesh),
        )

    def flops(self, batch_size: int, embed_dim: int) -> float:
        """Of the loss in blocks, in units of B²E as `losses/soft_clip_blockwise.py` counts them."""
        if self.hard_weight == 1.0:
            units = 4 + 8
        else:
            units = (8 if self.targets == "row" else 12) + (12 if self.detach_targets else 16)
        return units * batch_size**2 * embed_dim
