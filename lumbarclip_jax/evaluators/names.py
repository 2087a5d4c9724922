"""What numbers and answers are called, in metrics.json and in predictions.npz."""

import dataclasses
import re

# What stands beside a number: under its name with one of these at the end.
LOW, HIGH, CHANCE = "_ci_low", "_ci_high", "_chance"
LEVEL_ONLY, SEED_DEVIATION = "_level_only", "_seed_sd"
BESIDE = (LOW, HIGH, CHANCE, LEVEL_ONLY, SEED_DEVIATION)

# Retrieval writes `image_to_text_recall_at_5`, of which the direction is a part of the path.
DIRECTION = re.compile(r"((?:image|text|patient)_to_(?:image|text|patient))_(\w+)")


@dataclasses.dataclass(frozen=True)
class Name:
    """`<split>/<evaluator>/<path>`, and `/<measure>` of a number.

    The path is a direction of retrieval, or a task with what was asked about it, such as its
    features; some numbers are of the evaluator alone and have none. Answers have no `measure`.
    """

    split: str
    evaluator: str
    path: tuple[str, ...] = ()
    measure: str = ""

    @classmethod
    def of_number(cls, name: str) -> "Name | None":
        """A name in metrics.json; None for what is no evaluator's, of fewer than three parts."""
        if name.count("/") < 2:
            return None
        split, evaluator, *path, measure = name.split("/")
        if direction := DIRECTION.fullmatch(measure):
            path, measure = [*path, direction[1]], direction[2]
        return cls(split, evaluator, tuple(path), measure)

    @classmethod
    def of_answers(cls, name: str) -> "Name":
        """A name in predictions.npz, without the field of an array."""
        split, evaluator, *path = name.split("/")
        return cls(split, evaluator, tuple(path))

    def __str__(self) -> str:
        path, measure = self.path, self.measure
        if measure and path and DIRECTION.fullmatch(f"{path[-1]}_{measure}"):
            path, measure = path[:-1], f"{path[-1]}_{measure}"
        return "/".join([self.split, self.evaluator, *path, *([measure] if measure else [])])

    @property
    def answers(self) -> str:
        """The name of the answers that a number was made of."""
        return str(dataclasses.replace(self, measure=""))

    @property
    def task(self) -> str:
        """The task or direction, "" where there is none."""
        return self.path[0] if self.path else ""

    @property
    def features(self) -> tuple[str, ...]:
        """What stands after the task."""
        return self.path[1:]


def path_part(words: str) -> str:
    """A class, which may be any text, as a part of a path."""
    return re.sub(r"[\s/]+", "_", words)


def is_beside(name: str) -> bool:
    """Whether it is an interval, a chance or the like of another number."""
    return name.endswith(BESIDE)
