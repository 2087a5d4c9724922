"""What a page says in a sentence: what its numbers come to, and why some are not there."""

from collections.abc import Mapping, Sequence

from lumbarclip_jax.evaluators.task_rows import FEWEST_PATIENTS
from lumbarclip_jax.report.tables import Row, Section, Table, Task
from lumbarclip_jax.report.tasks import TaskPart

SAID = {
    "better": "better than chance at",
    "unclear": "not distinguishable from chance at",
    "worse": "worse than chance at",
}
# Shorter than their titles, which name the level.
TASKS = {"disc_displacement": "disc displacement", "compression": "compression"}
NAMES = ("Pfirrmann", "Schmorl")  # which stay as they are within a sentence


def is_invented(manifest: Mapping) -> bool:
    """Whether the patients of a data set are those of the phantom."""
    return str(manifest.get("source", "")).startswith("phantom")


def verdict(headlines: Sequence[tuple[Section, Task, Table, Row]], manifest: Mapping) -> str:
    """At what the model is better than chance, and at what not, of the split shown first.

    Returns:
      "On the 11 patients of the test split: better than chance at ...; not distinguishable from
      chance at ...", or "" where nothing has a chance and an interval to be judged by.
    """
    judged = [found for found in headlines if found[3].verdict]
    if not judged:
        return ""
    split = judged[0][0].split
    tasks_of: dict[str, dict[str, list[str]]] = {}
    for section, task, _, row in judged:
        if section.split == split:
            question, way = TASKS.get(task.key, _within(task.title)), _within(section.title)
            if section.evaluator == "retrieval":
                question, way = way, question
            tasks_of.setdefault(row.verdict, {}).setdefault(question, []).append(way)
    said = "; ".join(
        f"{words} {_listed([f'{task} ({_listed(ways)})' for task, ways in tasks_of[kind].items()])}"
        for kind, words in SAID.items()
        if kind in tasks_of
    )
    patients = manifest.get("splits", {}).get(split, {}).get("patients")
    invented = "invented " if is_invented(manifest) else ""
    whom = f"the {patients} {invented}patients" if patients else f"{invented}patients"
    return f"On {whom} of the {split} split: {said}."


def unmeasured(parts: Sequence[TaskPart], manifest: Mapping) -> str:
    """Which tasks have no numbers, and why; "" where all have."""
    missing = [part for part in parts if not part.answered]
    if not missing:
        return ""
    lacking = [
        what
        for what, field in (
            ("labels of findings", "findings_source"),
            ("Pfirrmann grades", "grades_source"),
        )
        if manifest.get(field) == "none"
    ]
    without = f"the data set has no {' and no '.join(lacking)}" if lacking else ""
    if without and len(missing) == len(parts):
        return (
            f"No classification was measured, as {without}: build it with --findings and --grades "
            "to have that here."
        )
    names = _listed(list(dict.fromkeys(_within(part.title) for part in missing)))
    why = (
        "a task needs labelled images of two classes in the split, and a finding "
        f"{FEWEST_PATIENTS} patients of each"
    )
    return f"Not measured: {names}; {', and '.join(filter(None, (without, why)))}."


def _within(title: str) -> str:
    """A title as part of a sentence."""
    return title if title.startswith(NAMES) else title[:1].lower() + title[1:]


def _listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
