"""Further texts of a record beside its report: paraphrases, sections, translations and the like.

A record of such a data set has `texts`, the `text_kinds` of these and, where the data set has tasks
of its own, `text_labels`: one row a text, one column a task, in the codes of `records.tasks`.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

KIND = re.compile("[a-z_]+")
ANY_KIND = "text"  # of a table that names none
TEXTS, KINDS, LABELS = "texts", "text_kinds", "text_labels"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text, its kind and its labels, one a task of the data set."""

    text: str
    kind: str
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TextRow:
    """A text as its row has it: of a patient or, where there are `places`, of these images alone.

    `row` says where it is, for the list of what was left out.
    """

    row: str
    patient: str
    places: tuple[str, ...]
    text: Text


@dataclasses.dataclass(frozen=True)
class FurtherTexts:
    """The texts of patients and of images (by place), in the order of their table.

    They are `labelled` in a data set that has tasks.
    """

    of_patient: Mapping[str, Sequence[Text]] = dataclasses.field(default_factory=dict)
    of_image: Mapping[str, Sequence[Text]] = dataclasses.field(default_factory=dict)
    labelled: bool = False

    def features(self, patient: str, place: str) -> dict[str, Any]:
        """What the record of an image has of them: nothing in a data set without any."""
        if not self.of_patient and not self.of_image:
            return {}
        found = [*self.of_patient.get(patient, ()), *self.of_image.get(place, ())]
        labels = {LABELS: [text.labels for text in found]} if self.labelled else {}
        texts, kinds = [text.text for text in found], [text.kind for text in found]
        return {TEXTS: texts, KINDS: kinds} | labels

    def in_manifest(self) -> dict[str, Any]:
        """The manifest's entry, and none where there are no texts."""
        counts: dict[str, int] = {}
        for texts in (*self.of_patient.values(), *self.of_image.values()):
            for text in texts:
                counts[text.kind] = counts.get(text.kind, 0) + 1
        return {"texts": {"kinds": dict(sorted(counts.items()))}} if counts else {}


NO_TEXTS = FurtherTexts()
