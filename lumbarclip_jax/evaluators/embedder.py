"""Embeddings of whole splits on the host: what every evaluator works on."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy.special import softmax

from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Columns, Dataset, with_level
from lumbarclip_jax.data.fields import one_hot
from lumbarclip_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSplit(Columns):
    """One split seen through the encoders, beside its texts and labels: M rows, one an image."""

    image_embeds: np.ndarray  # [M, E] unit length
    image_features: np.ndarray  # [M, D] before the projection
    text_embeds: np.ndarray  # [M, E] unit length, of the record's report
    text_features: np.ndarray  # [M, D'] before the projection

    def __len__(self) -> int:
        return len(self.image_embeds)


class Embedder:
    """Encodes splits and prompts in padded batches of one compiled shape.

    Every process calls it alike, reads its own rows of each batch, and is given the embeddings of
    all rows.

    Args:
      encode_image: (state, uint8 [B, S, S, 1]) -> dict of image_embeds, image_features.
      encode_text: (state, tokenizer output) -> dict of text_embeds, text_features.
      level_prefix: put the record's level before its report, as in training.
      has_shared_features: the features of both towers are of one width, see `model.feature_dim`.
      heads: (task, number of classes) of the heads on image embeddings.
      label_logits: (state, embeds [M, E], levels [M, L]) -> logits/<task> [M, K] of the heads.
    """

    unit = "image"  # what a row is

    def __init__(
        self,
        encode_image: Callable,
        encode_text: Callable,
        dataset: Dataset,
        tokenizer: Tokenizer,
        *,
        mesh: jax.sharding.Mesh,
        batch_size: int,
        level_prefix: bool,
        has_shared_features: bool = False,
        heads: tuple[tuple[str, int], ...] = (),
        label_logits: Callable | None = None,
    ):
        self._encode_image = encode_image
        self._encode_text = encode_text
        self._dataset = dataset
        self._tokenizer = tokenizer
        self._mesh = mesh
        self._batch_size = batch_size
        self._level_prefix = level_prefix
        self.has_shared_features = has_shared_features
        self.heads = heads
        self._label_logits = label_logits
        self._kept: dict[str, EmbeddedSplit] = {}
        self._kept_step = -1

    @property
    def splits(self) -> tuple[str, ...]:
        return self._dataset.splits

    @property
    def by_image(self) -> "Embedder":
        """That with a row an image, for what is asked of pixels."""
        return self

    @property
    def level_prefix(self) -> bool:
        """Whether texts begin with a disc level, so that prompts should too."""
        return self._level_prefix

    def __call__(self, state, split: str) -> EmbeddedSplit:
        """All records of a split, in data set order; kept until asked about another step."""
        step = int(state.step)
        if step != self._kept_step:
            self._kept, self._kept_step = {}, step
        if split not in self._kept:
            self._kept[split] = self._embed(state, split)
        return self._kept[split]

    def columns(self, split: str) -> Columns:
        """Texts and labels of a split, without encoding anything."""
        return self._dataset.columns(split)

    def encode_text(self, state, texts: Sequence[str], output: str = "text_embeds") -> np.ndarray:
        """Unit embeddings f32 [K, E] of free texts, or their text_features [K, D]."""
        return self._encode_texts(state, texts)[output]

    def _encode_texts(self, state, texts: Sequence[str]) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {"text_embeds": [], "text_features": []}
        for rows, used in self._batches(list(texts)):
            outputs = self._encode_text(state, self._shard(self._tokenizer(rows)))
            for name, parts in found.items():
                parts.append(np.asarray(outputs[name], np.float32)[:used])
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def logit_scale(self, state) -> float:
        """Log of 1 / temperature, as learnt."""
        return float(state.params["logit_scale"])

    def label_probabilities(self, state, split: str) -> dict[str, np.ndarray]:
        """What the heads say of a split: float64 [M, K] by task."""
        assert self._label_logits, "there are heads"
        embedded = self(state, split)
        logits = self._label_logits(state, embedded.image_embeds, one_hot(embedded.level))
        return {
            name.removeprefix("logits/"): softmax(np.asarray(of, np.float64), axis=1)
            for name, of in logits.items()
        }

    def images(self, split: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pixels of the given rows, uint8 [K, S, S, 1]."""
        return self._dataset.images(split, indices)

    def changed(
        self, state, split: str, change: Callable[[np.ndarray, Sequence[int]], np.ndarray]
    ) -> EmbeddedSplit:
        """What `self(state, split)` would be if its pictures were others; it is not kept.

        Args:
          change: pixels uint8 [K, S, S, 1] and their rows [K] in the split to new pixels.
        """
        return dataclasses.replace(self(state, split), **self._encode_images(state, split, change))

    def _embed(self, state, split: str) -> EmbeddedSplit:
        columns = self._dataset.columns(split)
        texts = [
            with_level(report, level, self._level_prefix)
            for report, level in zip(columns.report, columns.level, strict=True)
        ]
        # Many records share a text: encode each once.
        unique, rows_of = np.unique(np.array(texts), return_inverse=True)
        encoded = self._encode_texts(state, unique.tolist())
        return EmbeddedSplit(
            **vars(columns),
            **self._encode_images(state, split, lambda images, rows: images),
            text_embeds=encoded["text_embeds"][rows_of],
            text_features=encoded["text_features"][rows_of],
        )

    def _encode_images(self, state, split: str, change: Callable) -> dict[str, Any]:
        embeds, features = [], []
        for rows, used in self._batches(list(range(len(self.columns(split).report)))):
            batch = self._shard({"images": change(self._dataset.images(split, rows), rows)})
            outputs = self._encode_image(state, batch["images"])
            embeds.append(np.asarray(outputs["image_embeds"], np.float32)[:used])
            features.append(np.asarray(outputs["image_features"], np.float32)[:used])
        return {"image_embeds": np.concatenate(embeds), "image_features": np.concatenate(features)}

    def _batches(self, items: list):
        """Yields (this process's items of a batch, number of the batch's rows that count)."""
        batches = sharding.filled_batches(len(items), self._batch_size, self._mesh, one_shape=True)
        for rows, used in batches:
            own = rows[sharding.own_rows(len(rows), self._mesh)]
            yield [items[row] for row in own], used

    def _shard(self, batch: dict) -> dict:
        return sharding.shard_batch(batch, self._mesh)
