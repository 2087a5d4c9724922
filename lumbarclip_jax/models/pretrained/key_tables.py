"""Tables that name the same weights in a published checkpoint and in our parameter trees.

A table is a tuple of `Rule`s and is read in both directions, by `to_flax` and `to_published`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

Tree = dict[str, Any]
Tensors = dict[str, np.ndarray]  # key in the checkpoint -> array


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


# Of a linear layer that makes all three at once, in their order there.
THIRDS = ("query", "key", "value")

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
    # A table that lies bare in our module.
    "table": (Leaf(".weight", "params", ""),),
    # An array that the published model keeps with a leading axis of one.
    "row": (Leaf("", "params", "", lambda x: x[0], lambda x: x[None]),),
    # A third of a linear layer that makes queries, keys and values at once; see `split_fused`.
    **{
        part: (
            Leaf(f".weight[{part}]", "params", "/kernel", np.transpose, np.transpose),
            Leaf(f".bias[{part}]", "params", "/bias"),
        )
        for part in THIRDS
    },
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a publisher lays out the checkpoints of one kind of encoder.

    Keys that begin with one of `heads` belong to the task the checkpoint was trained for, keys that
    end with one of `buffers` are no parameters; both are left out. `prefix` stands before the
    encoder's keys where it was saved as a part of a larger model. `adapt` brings the encoder's
    tensors, old spellings among them, to the names of `rules`; `restore` brings tensors under these
    names to those that the publisher's code writes.
    """

    rules: tuple[Rule, ...]
    prefix: str = ""
    heads: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    adapt: Callable[[Tensors], Tensors] = dict
    restore: Callable[[Tensors], Tensors] = dict


def within(rules: tuple[Rule, ...], published_prefix: str, ours_prefix: str) -> tuple[Rule, ...]:
    """The rules of an encoder that is a part of a larger model on both sides."""
    return tuple(Rule(published_prefix + r.published, ours_prefix + r.ours, r.kind) for r in rules)


def unwrapped(tensors: Tensors) -> Tensors:
    """The tensors under a model's own names, without what training code that wraps it adds.

    torch.compile puts `_orig_mod.` before all or some, DistributedDataParallel and AveragedModel
    `module.`, Lightning `model.` before all keys; AveragedModel counts `n_averaged`.
    """
    bare = {key.replace("_orig_mod.", ""): x for key, x in tensors.items() if key != "n_averaged"}
    for wrapper in ("module.", "model."):
        if bare and all(key.startswith(wrapper) for key in bare):
            return unwrapped({key.removeprefix(wrapper): x for key, x in bare.items()})
    return bare


def encoder_tensors(tensors: Tensors, layout: Layout) -> tuple[Tensors, list[str]]:
    """The encoder's own tensors under the names of the rules, and the keys of task heads left out.

    A key that is neither stays among the tensors, so that `fit` refuses it.
    """
    tensors = unwrapped(tensors)
    prefix = layout.prefix if any(key.startswith(layout.prefix) for key in tensors) else ""
    kept, heads = {}, []
    for key, tensor in tensors.items():
        if key.startswith(layout.heads):
            heads.append(key)
        elif not key.startswith(prefix):
            # Its bare name could pass for one of the encoder's.
            kept[f"{key} outside {prefix}"] = tensor
        elif not key.endswith(layout.buffers):
            kept[key.removeprefix(prefix)] = tensor
    return layout.adapt(kept), heads


def split_fused(tensors: Tensors) -> Tensors:
    """Cuts every `...qkv.weight` and `...qkv.bias` into its thirds, `...qkv.weight[query]` etc."""
    split = {}
    for key, tensor in tensors.items():
        if key.endswith(("qkv.weight", "qkv.bias")) and len(tensor) % 3 == 0:
            thirds = zip(THIRDS, np.split(tensor, 3), strict=True)
            split |= {f"{key}[{part}]": third for part, third in thirds}
        else:
            split[key] = tensor
    return split


def join_fused(tensors: Tensors) -> Tensors:
    """The inverse of `split_fused`."""
    joined = {key: tensor for key, tensor in tensors.items() if not key.endswith("]")}
    for stem in {key.partition("[")[0] for key in tensors.keys() - joined.keys()}:
        joined[stem] = np.concatenate([tensors[f"{stem}[{part}]"] for part in THIRDS])
    return joined


def fit(tensors: Tensors, shapes: Tree, rules: tuple[Rule, ...], source: Any) -> Tree:
    """Variables from checkpoint tensors that are exactly those of `shapes` {collection: nested}.

    Raises:
      ValueError: a tensor is missing, unexpected, of another shape or not of finite floats; they
        are listed by the checkpoint's names, after the `source`.
    """
    expected = published_shapes(shapes, rules)
    reshaped = [
        f"{key} {list(tensors[key].shape)} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in tensors and tensors[key].shape != shape
    ]
    own = {key: tensors[key] for key in expected if key in tensors}
    problems = [
        listing("missing", [key for key in expected if key not in tensors]),
        listing("unexpected", [key for key in tensors if key not in expected]),
        listing("of another shape", reshaped),
        listing("in whole numbers", [key for key, x in own.items() if x.dtype.kind != "f"]),
        listing("not finite", [key for key, x in own.items() if not np.isfinite(x).all()]),
    ]
    if any(problems):
        raise ValueError(
            f"the weights in {source} are not those of the model its config describes: "
            f"{'; '.join(filter(None, problems))}; pass a folder whose config and weights belong "
            "together"
        )
    return to_flax(tensors, rules)[0]


def listing(what: str, names: list[str]) -> str:
    """ "12 missing (a, b, ...)", with the first ten names; empty without names."""
    if not names:
        return ""
    more = ", ..." if len(names) > 10 else ""
    return f"{len(names)} {what} ({', '.join(names[:10])}{more})"


def published_shapes(shapes: Tree, rules: tuple[Rule, ...]) -> dict[str, tuple[int, ...]]:
    """Shape by key of the checkpoint that the leaves of `shapes`, which have a `.shape`, lie in.

    A leaf that no checkpoint of this kind has keeps its path for a key.
    """
    published = {}
    for path, leaf in flatten(shapes):
        key, change = published_key(path, rules) or (path, Leaf("", "", ""))
        # A broadcast zero takes no memory and shows what the change of layout does to the shape.
        published[key] = change.to_published(np.broadcast_to(np.float32(0), leaf.shape)).shape
    return published


def to_flax(tensors: Mapping[str, np.ndarray], rules: tuple[Rule, ...]) -> tuple[Tree, list[str]]:
    """Variables {collection: nested dict} from checkpoint tensors, and the keys no rule covers."""
    variables: Tree = {}
    unknown = []
    for key, tensor in tensors.items():
        for rule, leaf in leaves(rules):
            numbers = match(rule.published + leaf.suffix, key)
            if numbers is not None:
                path = leaf.collection + "/" + rule.ours.format(*numbers) + leaf.name
                insert(variables, path, np.asarray(leaf.to_flax(tensor), order="C"))
                break
        else:
            unknown.append(key)
    return variables, unknown


def to_published(variables: Tree, rules: tuple[Rule, ...]) -> tuple[Tensors, list[str]]:
    """Checkpoint tensors from variables, and the paths no rule covers: the inverse of `to_flax`."""
    tensors = {}
    unknown = []
    for path, array in flatten(variables):
        if (found := published_key(path, rules)) is None:
            unknown.append(path)
        else:
            key, leaf = found
            tensors[key] = np.asarray(leaf.to_published(np.asarray(array)), order="C")
    return tensors, unknown


def published_key(path: str, rules: tuple[Rule, ...]) -> tuple[str, Leaf] | None:
    """The checkpoint's key of our `path` and the leaf that lies there, None without a rule."""
    for rule, leaf in leaves(rules):
        numbers = match(leaf.collection + "/" + rule.ours + leaf.name, path)
        if numbers is not None:
            return rule.published.format(*numbers) + leaf.suffix, leaf
    return None


def leaves(rules: tuple[Rule, ...]) -> list[tuple[Rule, Leaf]]:
    return [(rule, leaf) for rule in rules for leaf in KINDS[rule.kind]]


def match(template: str, text: str) -> tuple[str, ...] | None:
    """The numbers at the `{}` of the template if the text fits it, else None."""
    found = re.fullmatch(re.escape(template).replace(r"\{\}", r"(\d+)"), text)
    return found.groups() if found else None


def insert(tree: Tree, path: str, array: np.ndarray | jax.Array) -> None:
    *parents, name = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = array


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """All (path, array) of a nested dict, paths joined by `/`."""
    items = []
    for name, sub in tree.items():
        path = f"{prefix}/{name}" if prefix else name
        items += flatten(sub, path) if isinstance(sub, Mapping) else [(path, sub)]
    return items
