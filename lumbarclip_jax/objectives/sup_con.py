"""Supervised contrast: images and texts of one class are near each other."""

import dataclasses
from collections.abc import Iterator

import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import LABEL, REPORT_GROUP
from lumbarclip_jax.losses import METHODS, Method
from lumbarclip_jax.losses.sup_con import sup_con_loss
from lumbarclip_jax.objectives.term import Batch, Outputs, Params, Term, one_of


@dataclasses.dataclass(frozen=True)
class SupCon(Term):
    """`losses.sup_con` over all views of all rows, images and texts alike.

    Multi-task retrieval (arXiv 2601.05399) adds it to CLIP with normal and abnormal as classes; its
    weights and temperature are not public, and these are ours. What has no label of the task is
    left out.
    """

    task: str = ""  # whose classes; "" = each pair is one
    temperature: float = 0.1
    method: Method = "auto"
    group_reports: bool = True  # without a task, pairs with equal reports are one class

    learned = ()
    is_streamed = True

    @property
    def reads(self) -> tuple[str, ...]:
        return ("image_embeds", "text_embeds", *([self._classes] if self._classes else []))

    @property
    def _classes(self) -> str:
        """The field that says them, if not every pair is alone."""
        if self.task:
            return f"{LABEL}{self.task}"
        return REPORT_GROUP if self.group_reports else ""

    def faults(self) -> Iterator[str]:
        yield from one_of("method", self.method, METHODS)
        if not self.temperature > 0:
            yield f"temperature={self.temperature} must be above 0"

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        # The views of a row stay side by side, and with it on its device.
        views = jnp.concatenate([outputs["image_embeds"], outputs["text_embeds"]], axis=1)
        classes = batch[self._classes] if self._classes else jnp.arange(len(views))
        classes = jnp.repeat(classes, views.shape[1])
        embeds = views.reshape(-1, views.shape[-1])
        return sup_con_loss(embeds, classes, self.temperature, method=self.method, mesh=mesh)

    def flops(self, batch_size: int, embed_dim: int, views: tuple[int, int] = (1, 1)) -> float:
        """Of the loss in blocks, as `losses/sup_con_blockwise.py` counts them."""
        return (2 + 6) * (sum(views) * batch_size) ** 2 * embed_dim
