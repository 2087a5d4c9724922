"""What the contrastive terms share: views, how they are computed, what equal reports are."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import OF_TEXT, REPORT_GROUP
from lumbarclip_jax.losses import METHODS, Method
from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, Term, one_of, view

Pairs = tuple[Float[Array, "B E"], Float[Array, "B E"]]  # images and texts


@dataclasses.dataclass(frozen=True)
class Contrast(Term):
    """A term that tells what belongs together from the rest of the batch."""

    method: Method = "auto"
    group_reports: bool = True  # pairs with equal reports are each other's positives

    is_streamed = True
    compares: ClassVar[tuple[str, ...]] = ()  # outputs of the model

    @property
    def units(self) -> float:
        """FLOPs of a comparison of two views, forward and backward, in units of B² E."""
        raise NotImplementedError

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.compares, *([REPORT_GROUP] if self.group_reports else []))

    def faults(self) -> Iterator[str]:
        yield from one_of("method", self.method, METHODS)

    def form(self, batch: Batch, mesh: Mesh) -> dict[str, Any]:
        """Options of a loss: its method, its mesh and the groups of the batch."""
        groups = batch[REPORT_GROUP] if self.group_reports else None
        return {"method": self.method, "mesh": mesh, "groups": groups}

    def comparisons(self, images: int, texts: int) -> int:
        """How many pairs of views are compared, where a row has so many of both."""
        raise NotImplementedError

    def flops(self, batch_size: int, embed_dim: int, views: tuple[int, int] = (1, 1)) -> float:
        return self.comparisons(*views) * self.units * batch_size**2 * embed_dim


@dataclasses.dataclass(frozen=True)
class ImageText(Contrast):
    """A contrast that sets the image of a pair against the texts of all others, and back.

    Of studies with several views it is the mean over all pairings of a view of the image and a text
    (CXR-CLIP, arXiv 2310.13292; of one image and two texts also MedCLIP, arXiv 2210.10163).
    """

    compares = ("image_embeds", "text_embeds")

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        images, texts = outputs["image_embeds"], outputs["text_embeds"]
        form = self.form(batch, mesh)
        return _mean(
            self.of_pairs(params, (view(images, v), view(texts, w)), _of_text(batch, w), form)
            for v in range(images.shape[1])
            for w in range(texts.shape[1])
        )

    def of_pairs(
        self, params: Params, pairs: Pairs, batch: Batch, form: dict[str, Any]
    ) -> Float[Array, ""]:
        """The loss of one view of the images and one text of each.

        Args:
          params: as for `Term`.
          pairs: unit embeddings of images and texts.
          batch: what is read of the batch; of fields of a text those of this one, [B, ...].
          form: see `Contrast.form`.
        """
        raise NotImplementedError

    def comparisons(self, images: int, texts: int) -> int:
        return images * texts


@dataclasses.dataclass(frozen=True)
class Views(Contrast):
    """Plain CLIP among the views of one kind, the mean over all pairs of them (CXR-CLIP, ICL, TCL).

    Of two views this is the mean of the cross-entropies in both directions.
    """

    @property
    def units(self) -> float:
        """Those of plain CLIP."""
        return 4 + 8

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        (name,) = self.compares
        embeds, form = outputs[name], self.form(batch, mesh)
        return _mean(
            clip_loss(view(embeds, v), view(embeds, w), params["logit_scale"], **form)
            for v, w in itertools.combinations(range(embeds.shape[1]), 2)
        )

    def comparisons(self, images: int, texts: int) -> int:
        views = images if self.compares == ("image_embeds",) else texts
        return views * (views - 1) // 2


def _mean(losses: Iterator[Float[Array, ""]]) -> Float[Array, ""]:
    first, *others = losses
    return sum(others, start=first) / (1 + len(others)) if others else first


def _of_text(batch: Batch, text: int) -> Batch:
    return {
        name: leaf[:, text] if name.startswith(OF_TEXT) else leaf for name, leaf in batch.items()
    }
