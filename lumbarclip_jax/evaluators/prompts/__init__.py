"""Prompts as data: one JSON file a task, expanded into the sentences of a class at a level.

A file of a binary task has the sides `positive` and `negative`, one of more classes a side a class,
under the class's name. A side lists `phrasings`, templates whose slots are filled with every
combination of the side's own lists (`{finding}`, `{severity}`) and the ways of writing the level
(`{level}`, from `levels.json`). An empty severity is a valid one. To change what zero-shot asks,
edit the files. A task without a file, of a data set's own labels, is asked for by the names of its
classes.
"""

import functools
import itertools
import json
import pathlib
import string

FOLDER = pathlib.Path(__file__).parent


@functools.cache
def _read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def sides(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a task's sides in its file, in the order of its classes."""
    return ("negative", "positive") if len(classes) == 2 else classes


def prompts_of(task: str, classes: tuple[str, ...], level: str) -> list[list[str]]:
    """The distinct prompts of every class of a task at a level, in the order of the classes.

    Raises:
      ValueError: `levels.json` does not say how the level is written.
    """
    if not (FOLDER / f"{task}.json").is_file():
        return [[f"{name}."] for name in classes]
    return [load_prompts(task, level, side) for side in sides(classes)]


def load_prompts(task: str, level: str, side: str) -> list[str]:
    """The distinct prompts of one side of a task at a level.

    Raises:
      ValueError: `levels.json` does not say how the level is written.
    """
    notations = _read("levels")
    if level not in notations:
        raise ValueError(
            f"prompts/levels.json has no entry for level {level!r} (it has {sorted(notations)}): "
            "add the ways reports write it."
        )
    words_of = _read(task)[side]
    choices = {**words_of, "level": notations[level]}
    prompts = []
    for phrasing in words_of["phrasings"]:
        slots = [slot for _, slot, _, _ in string.Formatter().parse(phrasing) if slot]
        for words in itertools.product(*(choices[slot] for slot in slots)):
            filled = phrasing.format(**dict(zip(slots, words, strict=True)))
            prompts.append(" ".join(filled.split()))
    return list(dict.fromkeys(prompts))
