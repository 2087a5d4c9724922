"""Tables that name the same weights in a published checkpoint and in our parameter trees.

A table is a tuple of `Rule`s and is read in both directions, by `to_flax` and `to_published`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A module's key prefix in the checkpoint, its path in our tree, and the kind of its weights.

    `{}` stands for a number; the numbers come in the same order on both sides.
    """

    published: str
    ours: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One array of a module: key suffix, collection, name, and the two changes of layout."""

    suffix: str
    collection: str
    name: str
    to_flax: Callable[[np.ndarray], np.ndarray] = np.asarray
    to_published: Callable[[np.ndarray], np.ndarray] = np.asarray


KINDS: dict[str, tuple[Leaf, ...]] = {
    "linear": (
        Leaf(".weight", "params", "/kernel", np.transpose, np.transpose),
        Leaf(".bias", "params", "/bias"),
    ),
    "conv": (
        Leaf(
            ".weight",
            "params",
            "/kernel",
            lambda oihw: oihw.transpose(2, 3, 1, 0),
            lambda hwio: hwio.transpose(3, 2, 0, 1),
        ),
        Leaf(".bias", "params", "/bias"),
    ),
    "embedding": (Leaf(".weight", "params", "/embedding"),),
    "norm": (
        Leaf(".weight", "params", "/scale"),
        Leaf(".bias", "params", "/bias"),
    ),
    "batch_norm": (
        Leaf(".weight", "params", "/scale"),
        Leaf(".bias", "params", "/bias"),
        Leaf(".running_mean", "batch_stats", "/mean"),
        Leaf(".running_var", "batch_stats", "/var"),
    ),
    "array": (Leaf("", "params", ""),),
    # A table that the published model keeps with a leading axis of one.
    "row": (Leaf("", "params", "", lambda x: x[0], lambda x: x[None]),),
}


def to_flax(tensors: Mapping[str, np.ndarray], rules: tuple[Rule, ...]) -> tuple[Tree, list[str]]:
    """Variables {collection: nested dict} from checkpoint tensors, and the keys no rule covers."""
    variables: Tree = {}
    unknown = []
    for key, tensor in tensors.items():
        for rule, leaf in leaves(rules):
            numbers = match(rule.published + leaf.suffix, key)
            if numbers is not None:
                path = leaf.collection + "/" + rule.ours.format(*numbers) + leaf.name
                insert(variables, path, np.ascontiguousarray(leaf.to_flax(tensor)))
                break
        else:
            unknown.append(key)
    return variables, unknown


def to_published(
    variables: Tree, rules: tuple[Rule, ...]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Checkpoint tensors from variables, and the paths no rule covers: the inverse of `to_flax`."""
    tensors = {}
    unknown = []
    for path, array in flatten(variables):
        for rule, leaf in leaves(rules):
            numbers = match(leaf.collection + "/" + rule.ours + leaf.name, path)
            if numbers is not None:
                key = rule.published.format(*numbers) + leaf.suffix
                tensors[key] = np.ascontiguousarray(leaf.to_published(np.asarray(array)))
                break
        else:
            unknown.append(path)
    return tensors, unknown


def leaves(rules: tuple[Rule, ...]) -> list[tuple[Rule, Leaf]]:
    return [(rule, leaf) for rule in rules for leaf in KINDS[rule.kind]]


def match(template: str, text: str) -> tuple[str, ...] | None:
    """The numbers at the `{}` of the template if the text fits it, else None."""
    found = re.fullmatch(re.escape(template).replace(r"\{\}", r"(\d+)"), text)
    return found.groups() if found else None


def insert(tree: Tree, path: str, array: np.ndarray) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = array


def flatten(tree: Tree, prefix: str = "") -> list[tuple[str, Any]]:
    """All (path, array) of a nested dict, paths joined by `/`."""
    items = []
    for name, sub in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        items += flatten(sub, path) if isinstance(sub, Mapping) else [(path, sub)]
    return items
