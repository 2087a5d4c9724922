"""Texts for patients whose rows have labels and no report: what was labelled, in plain words."""

from collections.abc import Mapping, Sequence

from data_prep.records import schema
from data_prep.records.tasks import NO_LABEL, UNCERTAIN_LABEL, Task
from data_prep.text import templates


def templated_text(
    tasks: Sequence[Task],
    of_patient: Mapping[str, int],
    of_images: Mapping[str, Sequence[Mapping[str, int]]],
) -> str:
    """A line on the patient and one on each disc, or "" where there is no label to put into words.

    Args:
      tasks: of the data set.
      of_patient: task -> index of the class.
      of_images: level -> the labels of each image that shows it. Where they differ, nothing is
        said.
    """
    lines = [templates.of_patient(*said) for said in [_phrases(tasks, of_patient)] if any(said)]
    for level in (*schema.LEVELS, schema.WHOLE_SPINE):
        images = of_images.get(level, ())
        agreed = {
            name: label
            for image in images
            for name, label in image.items()
            if all(other.get(name, label) == label for other in images)
        }
        present, absent = _phrases(tasks, agreed)
        if level == schema.WHOLE_SPINE and (present or absent):
            lines.append(templates.of_patient(present, absent))
        elif present or absent:
            lines.append(templates.statement(level, present, absent))
    return "\n".join(lines)


def _phrases(tasks: Sequence[Task], labels: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """(what is there, what is not); an uncertain label says neither."""
    present, absent = [], []
    for task in tasks:
        label = labels.get(task.name, NO_LABEL)
        if label in (NO_LABEL, UNCERTAIN_LABEL):
            continue
        if task.is_presence:
            (present if label else absent).append(task.classes[1])
        else:
            present.append(f"{task.shown} {task.classes[label]}")
    return present, absent
