"""What the contrastive terms have in common: how they are computed, and what equal reports are."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from jax.sharding import Mesh

from lumbarclip_jax.losses import METHODS, Method
from lumbarclip_jax.objectives.term import Batch, Term, one_of


@dataclasses.dataclass(frozen=True)
class Contrast(Term):
    """A term that sets the image of a pair against the texts of all others, and back."""

    method: Method = "auto"
    group_reports: bool = True  # pairs with equal reports are each other's positives

    is_streamed = True

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image_embeds", "text_embeds", *(["report_group"] if self.group_reports else []))

    def faults(self) -> Iterator[str]:
        yield from one_of("method", self.method, METHODS)

    def form(self, batch: Batch, mesh: Mesh) -> dict[str, Any]:
        """Options of the loss: its form, its mesh and the groups of the batch."""
        groups = batch["report_group"] if self.group_reports else None
        return {"method": self.method, "mesh": mesh, "groups": groups}
