"""What the contrastive terms share: views, how they are computed, what equal reports are."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import OF_TEXT
from lumbarclip_jax.losses import METHODS, Method
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, Term, one_of, view

Pairs = tuple[Float[Array, "B E"], Float[Array, "B E"]]  # images and texts


@dataclasses.dataclass(frozen=True)
class Contrast(Term):
    """A term that sets the image of a pair against the texts of all others, and back.

    Of studies with several views it is the mean over all pairings of a view of the image and a text
    (CXR-CLIP, arXiv 2310.13292; of one image and two texts also MedCLIP, arXiv 2210.10163).
    """

    method: Method = "auto"
    group_reports: bool = True  # pairs with equal reports are each other's positives

    is_streamed = True

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image_embeds", "text_embeds", *(["report_group"] if self.group_reports else []))

    def faults(self) -> Iterator[str]:
        yield from one_of("method", self.method, METHODS)

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        images, texts = outputs["image_embeds"], outputs["text_embeds"]
        groups = batch["report_group"] if self.group_reports else None
        form = {"method": self.method, "mesh": mesh, "groups": groups}
        losses = [
            self.of_pairs(params, (view(images, v), view(texts, w)), _of_text(batch, w), form)
            for v in range(images.shape[1])
            for w in range(texts.shape[1])
        ]
        return losses[0] if len(losses) == 1 else sum(losses[1:], start=losses[0]) / len(losses)

    def of_pairs(
        self, params: Params, pairs: Pairs, batch: Batch, form: dict[str, Any]
    ) -> Float[Array, ""]:
        """The loss of one view of the images and one text of each.

        Args:
          params: as for `Term`.
          pairs: unit embeddings of images and texts.
          batch: what is read of the batch; of fields of a text those of this one, [B, ...].
          form: options of the loss: its method, its mesh and the groups of the batch.
        """
        raise NotImplementedError


def _of_text(batch: Batch, text: int) -> Batch:
    return {
        name: leaf[:, text] if name.startswith(OF_TEXT) else leaf for name, leaf in batch.items()
    }
