"""Classification: the labels of tasks, in one encoder with a head each."""

import dataclasses
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import IMAGES, LABEL, LEVEL
from lumbarclip_jax.losses.imbalance import NAMES
from lumbarclip_jax.losses.imbalance.mixing import MixedLabels
from lumbarclip_jax.losses.imbalance.strategy import STRATEGIES, Strategy
from lumbarclip_jax.objectives.term import LOGITS, Batch, Outputs, RowTerm, one_of

# Of a prepared batch whose images are blends.
PARTNER, OWN_WEIGHT = "partner/", "own_weight/"


@dataclasses.dataclass(frozen=True)
class Labels(RowTerm):
    """The loss of `losses.imbalance` by task, each the mean over what is labelled."""

    tasks: tuple[str, ...] = ()  # of the data set
    strategy: str = "erm"  # of `losses.imbalance`
    counts: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(name for task in self.tasks for name in (f"{LOGITS}{task}", f"{LABEL}{task}"))

    def faults(self) -> Iterator[str]:
        if not self.tasks:
            yield "tasks=() names no task: choose some that the data set has labels of"
        if isinstance(self.tasks, str):
            yield f"tasks={self.tasks!r} must be several names, such as ({self.tasks!r},)"
        yield from one_of("strategy", self.strategy, NAMES)

    @property
    def how(self) -> Strategy:
        """What the strategy does."""
        return STRATEGIES[self.strategy]

    def prepared(self, key: Array, batch: Batch) -> Batch:
        """Images and levels of a strategy that mixes are blends, beside whose labels there are
        those of the partners and the weights of their own."""
        if not self.how.mixes:
            return batch
        # One key, so that all tasks see the same partners and shares: there is one blend of images.
        mixtures = {
            # An index beyond the counts takes the last: where nobody counted, one stands for all.
            task: self.how.mix(key, batch[f"{LABEL}{task}"], self._counts(task, classes=1))
            for task in self.tasks
        }
        blend = mixtures[self.tasks[0]].blend
        mixed = {name: blend(batch[name]) for name in (IMAGES, LEVEL)}
        for task, mixture in mixtures.items():
            labels = mixture.labels(batch[f"{LABEL}{task}"])
            mixed |= {f"{PARTNER}{task}": labels.partner, f"{OWN_WEIGHT}{task}": labels.own_weight}
        return {**batch, **mixed}

    def rows(
        self, outputs: Outputs, batch: Batch, progress: Float[Array, ""] | float
    ) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
        parts = [self._rows_of(task, outputs, batch, progress) for task in self.tasks]
        losses, weights = zip(*parts, strict=True)
        return jnp.stack(losses, axis=1), jnp.stack(weights, axis=1)

    def _rows_of(self, task: str, outputs: Outputs, batch: Batch, progress):
        logits = outputs[f"{LOGITS}{task}"]
        classes = logits.shape[-1]
        labels = MixedLabels.alone(batch[f"{LABEL}{task}"])
        if self.how.mixes:
            partner, own_weight = batch[f"{PARTNER}{task}"], batch[f"{OWN_WEIGHT}{task}"]
            labels = MixedLabels(labels.own, partner, own_weight)
        # The mean over the views of a row.
        views = [
            self.how.losses(logits[:, view], labels, self._counts(task, classes), progress)
            for view in range(logits.shape[1])
        ]
        known = labels.known()
        return sum(views) / len(views) / jnp.where(known > 0, known, 1.0), known

    def _counts(self, task: str, classes: int) -> Float[Array, "K"]:
        """Training images of every class; all alike where nobody counted them."""
        return jnp.asarray(self.counts.get(task, np.ones(classes)), jnp.float32)
