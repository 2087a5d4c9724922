"""What a term of an objective is, and what terms share."""

from collections.abc import Iterator, Mapping
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float

from lumbarclip_jax.data.fields import IMAGES, LEVEL, TOKENS

Outputs = dict[str, Array]  # float leaves [B, ...] of the encoding pass
Batch = Mapping[str, Array]  # [B, ...]
Params = Mapping[str, Any]

# What a model says of a batch, see `LumbarCLIP`, and the fields of the batch that such a model
# takes; views are axis 1. All else that a term reads is a field of the batch itself.
MADE_OF = {
    name: (IMAGES, *TOKENS)
    for name in ("image_embeds", "image_features", "text_embeds", "text_features")
}
# "logits/<task>" [B, V, K], of `ImageClassifier`.
LOGITS, LOGITS_MADE_OF = "logits/", (IMAGES, LEVEL)


def is_output(name: str) -> bool:
    """Whether a term reads this of the model, and not of the batch."""
    return name in MADE_OF or name.startswith(LOGITS)


def made_of(output: str) -> tuple[str, ...]:
    """The fields of a batch that the model makes an output of."""
    return MADE_OF.get(output, LOGITS_MADE_OF)


class Term:
    """A loss that compares the rows of a batch, computed once for all of it.

    A term is a frozen dataclass. Its fields are settings, which a config states under
    `config.objective.<term>`; those called `method` and `group_reports` may be left to
    `config.objective` itself. One called `counts` is no setting: it is given how many images of
    every class of a task are trained on, see `objective.Objective`.
    """

    learned: tuple[str, ...] = ("logit_scale",)  # scalars of the model that it reads
    # Whether it needs no B×B matrix; without, batches have a limit, see `objective.DENSE_ROWS`.
    is_streamed: bool = False
    least_views: tuple[int, int] = (1, 1)  # images and texts of a row that it can do with

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of outputs, see `is_output`, and of fields of the batch, see `data.fields`."""
        return ()

    def faults(self) -> Iterator[str]:
        """A sentence for each setting that cannot be: "<field>=<value> must be ..."."""
        yield from ()

    def prepared(self, key: Array, batch: Batch) -> Batch:
        """The batch as the model is to see it, of one whose images are cut and augmented."""
        del key
        return batch

    def __call__(
        self, params: Params, outputs: Outputs, batch: Batch, mesh: Mesh
    ) -> Float[Array, ""]:
        """The loss of the batch.

        Args:
          params: the model's parameters, for the scalars that are `learned`.
          outputs: what it `reads` of the model, sharded over all axes of the mesh.
          batch: what it `reads` of the batch.
          mesh: the devices of the run.
        """
        raise NotImplementedError

    def flops(self, batch_size: int, embed_dim: int, views: tuple[int, int] = (1, 1)) -> float:
        """Floating-point operations of the loss and its gradient; 0 beside those of encoders.

        `views` are the images and the texts of a pair.
        """
        del batch_size, embed_dim, views
        return 0.0


class RowTerm(Term):
    """A loss that judges each row by itself, inside the encoding pass.

    Of a batch that is encoded in parts only a number a row is kept. The value of the batch is the
    mean of the rows in their weights.
    """

    learned = ()

    def rows(
        self, outputs: Outputs, batch: Batch, progress: Float[Array, ""] | float
    ) -> tuple[Float[Array, "B *T"], Float[Array, "B *T"]]:
        """The loss of each row and its weight, 0 where nothing is known of it.

        With a second axis there are several questions, and the value is the mean over these.
        `progress` is the part of training that is over, 0 to 1.
        """
        raise NotImplementedError


def pairs(outputs: Outputs) -> tuple[Float[Array, "B E"], Float[Array, "B E"]]:
    """Embeddings of image and text, of studies with several views those of the first."""
    return view(outputs["image_embeds"], 0), view(outputs["text_embeds"], 0)


def view(embeds: Float[Array, "B V E"], number: int) -> Float[Array, "B E"]:
    """A view of every row; of a single one the same array, reshaped: its gradient is no copy."""
    batch, views, width = embeds.shape
    return embeds.reshape(batch, width) if views == 1 else embeds[:, number]


def between(field: str, value: float, low: float, high: float | None = None) -> Iterator[str]:
    """The fault of a number outside `low` to `high`."""
    if not (low <= value and (high is None or value <= high)):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        yield f"{field}={value} must be {bound}"


def one_of(field: str, value: str, allowed: tuple[str, ...]) -> Iterator[str]:
    """The fault of a name that is none of those allowed."""
    if value not in allowed:
        yield f"{field}={value!r} is not one of {', '.join(map(repr, allowed))}"
