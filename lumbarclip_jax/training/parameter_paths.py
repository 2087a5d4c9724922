"""Paths of parameters, and the patterns by which a config names some of them."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax

# The part of the parameter tree that adapters lie in, see `lora`.
ADAPTERS = "lora"


def map_paths(function: Callable[[str, Any], Any], params):
    """Maps `function("text_encoder/layer_0/.../kernel", leaf)` over a parameter tree."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function("/".join(str(key.key) for key in path), leaf), params
    )


def is_adapter(path: str) -> bool:
    return path.startswith(f"{ADAPTERS}/")


def matches(pattern: str, path: str) -> bool:
    """Whether the whole path is as the regular expression says.

    An adapter is meant only by a pattern that itself begins with "lora/": `.*_encoder/.*` is the
    towers as they are without adapters.
    """
    return is_adapter(path) <= is_adapter(pattern) and bool(re.fullmatch(pattern, path))


def check_patterns(patterns: Iterable[str], params, field: str) -> None:
    """Raises ValueError for a pattern that matches no parameter path."""
    paths = jax.tree.leaves(map_paths(lambda path, _: path, params))
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            towers = sorted({path.split("/")[0] for path in paths})
            raise ValueError(
                f"{field}: the pattern {pattern!r} matches no parameter; paths start with "
                f"{', '.join(towers)}, so a whole tower is 'text_encoder/.*'"
            )
