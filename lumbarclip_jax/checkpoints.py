"""Checkpoints of the state together with the position in the data. Orbax lives here only."""

import pathlib

import orbax.checkpoint as ocp


class Checkpointer:
    """Saves and restores (state, data position) under `workdir/checkpoints`.

    Saving is asynchronous and atomic: a killed process leaves the previous checkpoint intact.
    """

    def __init__(self, workdir: pathlib.Path, keep: int = 1):
        self._folder = pathlib.Path(workdir).absolute() / "checkpoints"
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=True),
        )

    @property
    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, step: int, state, data_state: dict) -> None:
        """Starts saving in the background."""
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
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
                ),
            )
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"the checkpoint {self._folder / str(step)} does not fit this config's model: use "
                f"the config it was trained with, or another --workdir ({_first_line(error)})"
            ) from error
        return restored.state, restored.data

    def close(self) -> None:
        """Waits until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
