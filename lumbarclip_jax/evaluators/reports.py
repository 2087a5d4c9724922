"""The distinct reports of a split, as candidates of retrieval.

Reports that are equal after normalisation (one `report_group`) are one candidate. A model whose
texts begin with a disc level reads a report differently at every level; each image is then compared
with all reports as read at the image's own level, so that the level in the text gives nothing away.
"""

import dataclasses

import numpy as np

from lumbarclip_jax.data.dataset import with_level


@dataclasses.dataclass(frozen=True)
class Reports:
    """G reports at L readings, and where the M rows of the split stand among them.

    L is the number of levels, or 1 for a model that reads no level.
    """

    text_embeds: np.ndarray  # [L, G, E] unit length
    first_row: np.ndarray  # [G] a row that carries the report
    report_of_row: np.ndarray  # [M]
    reading_of_row: np.ndarray  # [M]

    def scores(self, image_embeds: np.ndarray, report: int) -> np.ndarray:
        """Cosines `[M]` of all images `[M, E]` to one report, each at its own reading."""
        return np.einsum("me,me->m", image_embeds, self.text_embeds[self.reading_of_row, report])


def distinct_reports(embedder, state, embedded) -> Reports:
    """Merges the equal reports of an embedded split.

    Readings that no row of the split has, such as a level missing for a patient, are encoded.
    """
    _, first_row, report_of_row = np.unique(
        embedded.report_group, return_index=True, return_inverse=True
    )
    if not embedder.level_prefix:
        texts = embedded.text_embeds[None, first_row]
        return Reports(texts, first_row, report_of_row, np.zeros_like(report_of_row))

    levels, reading_of_row = np.unique(embedded.level, return_inverse=True)
    texts = np.full((len(levels), len(first_row), embedded.text_embeds.shape[1]), np.nan, "f4")
    # Equal reports may still differ in letters: written backwards, so that the first row wins.
    texts[reading_of_row[::-1], report_of_row[::-1]] = embedded.text_embeds[::-1]
    unread = np.argwhere(np.isnan(texts[:, :, 0]))
    if len(unread):
        texts[tuple(unread.T)] = embedder.encode_text(
            state,
            [with_level(embedded.report[first_row[g]], levels[r], True) for r, g in unread],
        )
    return Reports(texts, first_row, report_of_row, reading_of_row)
