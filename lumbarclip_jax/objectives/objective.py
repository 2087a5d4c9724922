"""The objective of a run: the weighted sum of the terms that `config.objective` states."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from lumbarclip_jax.objectives.term import Batch, Outputs, Params, RowTerm, is_output, made_of
from lumbarclip_jax.objectives.weighted import Weighted, build

# What a term without a streamed form may compare: about ten B×B float32 matrices, 2.7 GB.
DENSE_ROWS = 8192
ROWS, WEIGHTS = "rows", "weights"  # of a row term among the outputs: "rows/<term>"


class Objective:
    """A sum of terms over the outputs of an encoding pass.

    `outputs` are those of the model that the terms read, and `fields` those of the batch, what the
    model makes its outputs of included.

    Args:
      config: `config.objective`.
      counts: by task, how many images of every class are trained on [K], for terms that weight
        classes; None where that is not known, as where nothing is trained.

    Raises:
      ValueError: as `weighted.build`.
    """

    def __init__(
        self,
        config: ConfigDict | Mapping[str, Any],
        counts: Mapping[str, np.ndarray] | None = None,
    ):
        self.terms = build(config, counts)
        read = dict.fromkeys(name for each in self.terms for name in each.term.reads)
        self.outputs = tuple(name for name in read if is_output(name))
        needed = dict.fromkeys(field for name in self.outputs for field in made_of(name))
        needed |= dict.fromkeys(name for name in read if not is_output(name))
        self.fields = tuple(needed)

    def require_room(self, batch_size: int) -> None:
        """Raises ValueError for a batch too large for a term that has no streamed form."""
        for name, term, *_ in self.terms:
            if batch_size > DENSE_ROWS and not (term.is_streamed or isinstance(term, RowTerm)):
                raise ValueError(
                    f"objective.{name} compares all pairs of a batch in one matrix, of "
                    f"{DENSE_ROWS} rows at most, and data.global_batch_size={batch_size}: lower "
                    "that, or leave the term out"
                )

    def prepared(self, key: Array, batch: Batch) -> Batch:
        """The batch as the model is to see it, see `Term.prepared`; each term has its own key."""
        for index, each in enumerate(self.terms):
            batch = each.term.prepared(jax.random.fold_in(key, index), batch)
        return batch

    def rows(
        self,
        outputs: Mapping[str, Array],
        batch: Batch,
        progress: Float[Array, ""] | float = 0.0,
    ) -> Outputs:
        """What the encoding pass keeps: what terms read of the model, and losses of single rows.

        Args:
          outputs: of the model, [B, V, ...] and perhaps more than is read.
          batch: the rows that were encoded.
          progress: the part of training that is over, 0 to 1.
        """
        kept = {name: outputs[name] for name in self.outputs if self._is_compared(name)}
        for name, term, *_ in self.terms:
            if isinstance(term, RowTerm):
                read = {output: outputs[output] for output in term.reads if is_output(output)}
                losses, weights = term.rows(read, batch, progress)
                kept |= {f"{ROWS}/{name}": losses, f"{WEIGHTS}/{name}": weights}
        return kept

    def __call__(
        self,
        params: Params,
        outputs: Outputs,
        batch: Batch,
        mesh: Mesh,
        progress: Float[Array, ""] | float = 0.0,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The loss of the batch, and each term of it before it is weighted, by name.

        Args:
          params: as for `Term`.
          outputs: of `rows`, of the whole batch.
          batch: as for `Term`.
          mesh: as for `Term`.
          progress: the part of training that is over, 0 to 1, which the schedules of weights read.
        """
        values = {}
        for name, term, *_ in self.terms:
            if isinstance(term, RowTerm):
                values[name] = weighted_mean(
                    outputs[f"{ROWS}/{name}"], outputs[f"{WEIGHTS}/{name}"]
                )
            else:
                values[name] = term(params, outputs, batch, mesh)
        parts = [_weighted(each, values[each.name], progress) for each in self.terms]
        return sum(parts[1:], start=parts[0]), values

    def flops(self, batch_size: int, embed_dim: int, views: tuple[int, int] = (1, 1)) -> float:
        """Of all terms, forward and backward; see `Term.flops`."""
        return sum(each.term.flops(batch_size, embed_dim, views) for each in self.terms)

    def _is_compared(self, output: str) -> bool:
        """Whether the whole batch is needed of an output, and not single rows."""
        comparing = (each.term for each in self.terms if not isinstance(each.term, RowTerm))
        return any(output in term.reads for term in comparing)


def weighted_mean(losses: Float[Array, "B *T"], weights: Float[Array, "B *T"]) -> Float[Array, ""]:
    """The mean over rows in their weights; of several questions the mean of those asked at all."""
    mass = weights.sum(axis=0)
    asked = mass > 0
    means = (weights * losses).sum(axis=0) / jnp.where(asked, mass, 1.0)
    return means.sum() / jnp.maximum(asked.sum(), 1)


def _weighted(each: Weighted, value: Array, progress) -> Array:
    weight = each.weight
    if each.schedule:
        parts, factors = zip(*each.schedule, strict=True)
        weight *= jnp.interp(progress, jnp.array(parts), jnp.array(factors))
    # A product with 1 would be another program for the runs of a single term.
    return value if isinstance(weight, float) and weight == 1.0 else weight * value
