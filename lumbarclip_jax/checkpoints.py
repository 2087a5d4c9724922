"""Checkpoints of the state together with the position in the data. Orbax lives here only."""

import pathlib

import jax
import orbax.checkpoint as ocp

from lumbarclip_jax.models import stacking


class Checkpointer:
    """Saves and restores (state, data position) under `workdir/checkpoints`.

    Saving is asynchronous and atomic: a killed process leaves the previous checkpoint intact.
    Layers are saved one by one, so that a run continues on another mesh, and with `scan_layers`
    turned on or off. A context manager: the end of the block waits until everything is on disk.
    """

    def __init__(self, workdir: pathlib.Path, keep: int = 1):
        self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self._folder,
            # Named here, so that what a checkpoint holds can be asked without reading it.
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "data": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
        )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *exception) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, state, data_state: dict) -> None:
        """Starts saving in the background."""
        kept = stacking.unstack_abstract_state(jax.tree.map(_abstract, state))
        state = _in_layout_of(kept, state, stacking.unstack_state)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(data_state)
            ),
        )

    def restore(self, abstract_state):
        """Returns (state, data_state) of the latest checkpoint, on the given shardings.

        Raises:
          FileNotFoundError: there is no checkpoint.
          ValueError: the checkpoint holds another model than `abstract_state`.
        """
        step = self._manager.latest_step()
        if step is None:
            raise FileNotFoundError(f"{self._folder} holds no checkpoint: train the run first")
        folder = self._folder / str(step)
        kept = stacking.unstack_abstract_state(abstract_state)
        if difference := _difference(self._manager.item_metadata(step).state.tree, kept):
            raise ValueError(
                f"the checkpoint {folder} does not fit this config ({difference}): use the config "
                "it was trained with, or another --workdir"
            )
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(kept), data=ocp.args.JsonRestore()
            ),
        )
        return _in_layout_of(abstract_state, restored.state, stacking.stack_state), restored.data


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _in_layout_of(wanted, state, convert):
    """`convert(state)` on the shardings of `wanted`, or the state itself where it is like it."""
    if jax.tree.structure(wanted) == jax.tree.structure(state):
        return state
    shardings = jax.tree.map(lambda leaf: leaf.sharding, wanted)
    return jax.jit(convert, out_shardings=shardings)(state)


def _difference(saved, wanted) -> str:
    """The first array of two states that differs in name or shape, "" where none does.

    Asked before a restore, because one that Orbax refuses leaves unfinished reads behind.
    """
    saved, wanted = _shapes(saved), _shapes(wanted)
    names = saved.keys() | wanted.keys()
    for name in sorted(names, key=lambda name: (not name.startswith("params/"), name)):
        if saved.get(name) != wanted.get(name):
            return f"{name} is {saved.get(name, 'absent')}, not {wanted.get(name, 'absent')}"
    return ""


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
