"""A few retrieval queries with what came back, for a person to look at.

Queries are drawn at random with a fixed seed, never for their looks.
"""

import dataclasses

import numpy as np

from lumbarclip_jax.evaluators.ranking import best_rank
from lumbarclip_jax.evaluators.reports import distinct_reports


@dataclasses.dataclass(frozen=True)
class TextHit:
    report: str
    score: float
    correct: bool


@dataclasses.dataclass(frozen=True)
class ImageHit:
    """`image` uint8 `[H, W]`."""

    image: np.ndarray
    level: str
    sequence: str
    score: float
    correct: bool


@dataclasses.dataclass(frozen=True)
class ImageQuery:
    """An image `[H, W]` uint8, its own report, and the reports ranked first for it.

    `rank` is the place of its own report among all `Gallery.texts`.
    """

    image: np.ndarray
    level: str
    sequence: str
    report: str
    rank: int
    hits: tuple[TextHit, ...]


@dataclasses.dataclass(frozen=True)
class TextQuery:
    """A report and the images ranked first for it, of `Gallery.images`."""

    report: str
    rank: int
    hits: tuple[ImageHit, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Queries both ways on one split, with the numbers of candidates they were ranked among."""

    split: str
    images: int
    texts: int
    image_queries: tuple[ImageQuery, ...]
    text_queries: tuple[TextQuery, ...]


def retrieval_gallery(
    embedder, state, split: str, *, queries: int = 6, hits: int = 5, seed: int = 0
) -> Gallery:
    """Draws `queries` images and `queries` reports of a split, each of another report.

    Images are fetched with `embedder.images(split, rows)` uint8 `[K, H, W, 1]`.
    """
    embedded = embedder(state, split)
    reports = distinct_reports(embedder, state, embedded)
    texts = embedded.report[reports.first_row]
    text_of_row = reports.report_of_row
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(texts)).tolist()

    def image_query(row: int) -> ImageQuery:
        scores = reports.text_embeds[reports.reading_of_row[row]] @ embedded.image_embeds[row]
        correct = np.arange(len(texts)) == text_of_row[row]
        return ImageQuery(
            image=embedder.images(split, np.array([row]))[0, :, :, 0],
            level=str(embedded.level[row]),
            sequence=str(embedded.sequence[row]),
            report=str(embedded.report[row]),
            rank=best_rank(scores, correct),
            hits=tuple(
                TextHit(
                    report=str(texts[text]),
                    score=float(scores[text]),
                    correct=bool(correct[text]),
                )
                for text in np.lexsort((correct, -scores))[:hits]
            ),
        )

    def text_query(text: int) -> TextQuery:
        scores = reports.scores(embedded.image_embeds, text)
        correct = text_of_row == text
        rows = np.lexsort((correct, -scores))[:hits]
        return TextQuery(
            report=str(texts[text]),
            rank=best_rank(scores, correct),
            hits=tuple(
                ImageHit(
                    image=image[:, :, 0],
                    level=str(embedded.level[row]),
                    sequence=str(embedded.sequence[row]),
                    score=float(scores[row]),
                    correct=bool(correct[row]),
                )
                for row, image in zip(rows, embedder.images(split, rows), strict=True)
            ),
        )

    return Gallery(
        split=split,
        images=len(text_of_row),
        texts=len(texts),
        image_queries=tuple(
            image_query(int(rng.choice(np.flatnonzero(text_of_row == text))))
            for text in drawn[:queries]
        ),
        text_queries=tuple(text_query(text) for text in drawn[::-1][:queries]),
    )
