"""How a train state is laid out: in memory, and as it is saved, layer by layer."""

import jax


def abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def in_layout_of(wanted, state, convert):
    """`convert(state)` on the shardings of `wanted`, or the state itself where it is like it."""
    if jax.tree.structure(wanted) == jax.tree.structure(state):
        return state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, wanted)
    return jax.jit(convert, out_shardings=shardings)(state)


def difference(saved, wanted) -> str:
    """The first array of two states that differs in name or shape, "" where none does.

    Fields that only the saved one has are no difference: a model is used without the optimizer's
    moments. Asked before a restore, because one that Orbax refuses leaves unfinished reads behind.
    """
    saved, wanted = _fields(saved), _fields(wanted)
    saved, wanted = _shapes({name: saved.get(name) for name in wanted}), _shapes(wanted)
    names = saved.keys() | wanted.keys()
    for name in sorted(names, key=lambda name: (not name.startswith("params/"), name)):
        if saved.get(name) != wanted.get(name):
            return f"{name} is {saved.get(name, 'absent')}, not {wanted.get(name, 'absent')}"
    return ""


def _fields(state) -> dict:
    fields, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda x: x is not state)
    return {jax.tree_util.keystr(path, simple=True): field for path, field in fields}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
