"""Checkpoints of the state together with the position in the data. Orbax lives here only."""

import contextlib
import errno
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from data_prep.process.files import disk_errors_name
from lumbarclip_jax.models import stacking
from lumbarclip_jax.run_folder import checksums, state_layout

DAMAGED = ".damaged"  # of a folder whose step is saved anew
PARTIAL = ocp.path.atomicity_types.TMP_DIR_SUFFIX
# Written once more after the digests are taken: with the time of the commit.
STEP_METADATA = "_CHECKPOINT_METADATA"

log = logging.getLogger(__name__)
# Orbax logs with pages of tracebacks what it also raises, and we say in a sentence.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno < logging.ERROR or "orbax" not in record.pathname
)


class Damaged(Exception):
    """A checkpoint is not as it was saved. Says which file."""


class Checkpointer:
    """Saves and restores (state, data position) under `workdir/checkpoints`.

    Saving is asynchronous and atomic: a killed process leaves the previous checkpoint intact. The
    list of digests becomes part of a checkpoint before its folder gets its name, so that there is
    none without; only those of earlier versions have no list.
    Layers are saved one by one, so that a run continues on another mesh, and with `scan_layers`
    turned on or off. A context manager: the end of the block waits until everything is on disk.

    Of all steps the last `keep` stay, and beside them the one that is set as `chosen`.
    """

    def __init__(self, workdir: pathlib.Path, keep: int = 1):
        self.chosen: int | None = None
        self._folder, self._keep = pathlib.Path(workdir).absolute() / "checkpoints", keep
        self._saving: int | None = None
        self._size_bytes = 0
        self._damaged: list[int] = []  # steps beyond the one that was restored
        self._manager = self._opened()

    def _opened(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self._folder,
            # Named here, so that what a checkpoint holds can be asked without reading it.
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(),
                "data": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self,
                create=True,
                lightweight_initialize=True,  # else it reads, and trips over, damaged metadata
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
            ),
        )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *exception) -> None:
        self.wait()
        if self._saving is not None:
            self._delete_replaced()
        self._manager.close()

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """Orbax's question, which of these (oldest first) are not to be deleted."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        return [step in (*steps[-self._keep :], self.chosen) for step in steps]

    @property
    def latest_step(self) -> int | None:
        return max(self.steps, default=None)

    @property
    def steps(self) -> set[int]:
        """What is there, less what `restore` found damaged."""
        return set(self._manager.all_steps()) - set(self._damaged)

    def is_whole(self, step: int) -> bool:
        """Whether every file of a checkpoint is as it was saved. All processes ask."""
        try:
            self._examine(step)
        except Damaged:
            return False
        return True

    def save(self, step: int, state, data_state: dict) -> None:
        """Starts saving in the background.

        What `restore` found damaged is renamed first, `N.damaged`, so that step N can be saved
        anew, and deleted once that or a later one is.

        Raises:
          OSError: this one or the one before cannot be written; the sentence names the place.
        """
        self.wait()
        self._size_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        if (free_bytes := shutil.disk_usage(self._folder).free) < self._size_bytes:
            # Found out by writing, it takes pages of tracebacks and the room that was left.
            raise OSError(
                f"{self._folder} cannot be written ({self._size_bytes:,} bytes, {free_bytes:,} are "
                "free): make room on that disk and run the command again, it continues"
            )
        self._set_aside()
        self._delete_replaced()
        self._saving = step
        kept = stacking.unstack_abstract_state(jax.tree.map(state_layout.abstract, state))
        state = state_layout.in_layout_of(kept, state, stacking.unstack_state)
        with self._disk_errors():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(state), data=ocp.args.JsonSave(data_state)
                ),
                custom_metadata={"step": step},
            )

    def wait(self) -> None:
        """Until what is being saved is on disk."""
        with self._disk_errors():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        with disk_errors_name(self._folder, size_bytes=self._size_bytes):
            try:
                yield
            except (ValueError, RuntimeError) as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                # As TensorStore calls what the system calls so.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def restore_step(self, abstract_state, step: int):
        """The state of one checkpoint, on the given shardings.

        Raises:
          FileNotFoundError: there is none of this step.
          ValueError: it is damaged, or holds another model than `abstract_state`.
        """
        self.wait()
        remedy = "copy it from wherever there is another, or train anew in another --workdir"
        if step not in self._manager.all_steps():
            path = self._folder / str(step)
            raise FileNotFoundError(f"{path} is missing, the step that validation chose: {remedy}")
        try:
            return self._read(step, abstract_state)[0]
        except Damaged as error:
            said = f"{error}: it is the step that validation chose, so {remedy}"
            raise ValueError(said) from error

    def restore(self, abstract_state, *, fall_back: bool = True):
        """Returns (state, data_state) of the newest whole checkpoint, on the given shardings.

        Newer ones that are damaged are named in a warning; without `fall_back` they are refused.

        Raises:
          FileNotFoundError: there is no checkpoint.
          ValueError: none is whole, or the checkpoint holds another model than `abstract_state`.
        """
        self._warn_of_others()
        steps = sorted(self._manager.all_steps(), reverse=True)
        if not steps:
            raise FileNotFoundError(f"{self._folder} holds no checkpoint: train the run first")
        faults: list[str] = []
        for step in steps:
            try:
                restored = self._read(step, abstract_state)
            except Damaged as error:
                faults.append(str(error))
                continue
            if faults and not fall_back:
                raise ValueError(
                    f"{'; '.join(faults)}: step {step} is whole, and the training command of this "
                    "run goes on from it"
                )
            if faults:
                log.warning("%s: step %d is taken instead", "; ".join(faults), step)
            self._damaged = steps[: len(faults)]
            return restored
        raise ValueError(
            f"{'; '.join(faults)}: no checkpoint of this run is whole, so copy it again from "
            "wherever there is another, or train anew in another --workdir"
        )

    def _read(self, step: int, abstract_state):
        folder = self._folder / str(step)
        self._examine(step)
        kept = stacking.unstack_abstract_state(abstract_state)
        wanted = ocp.args.PyTreeRestore(
            kept,
            restore_args=ocp.checkpoint_utils.construct_restore_args(kept),
            partial_restore=True,
        )
        try:
            saved = self._manager.item_metadata(step).state.tree
            difference = state_layout.difference(saved, kept)
            restored: Any = difference or self._manager.restore(
                step, args=ocp.args.Composite(state=wanted, data=ocp.args.JsonRestore())
            )
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:  # which Orbax itself raises on some damages
            reason = " ".join(str(error).split())[:200]
            raise Damaged(f"{folder} cannot be read ({reason})") from error
        if difference:
            raise ValueError(
                f"the checkpoint {folder} does not fit this config ({difference}): use the config "
                "it was trained with, or another --workdir"
            )
        state = state_layout.in_layout_of(abstract_state, restored.state, stacking.stack_state)
        return state, restored.data

    def _examine(self, step: int) -> None:
        """Process 0 compares every file with its digest; all hear the same.

        Raises:
          Damaged: one is not as it was saved.
        """
        folder = self._folder / str(step)
        fault = _fault(folder) if jax.process_index() == 0 else ""
        if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(bool(fault)):
            fault = fault or f"{folder} is damaged (process 0 says where)"
        if fault:
            raise Damaged(fault)

    def _write_digests(self) -> None:
        """Runs in process 0 once all have written their part, before the folder gets its name."""
        checksums.write(self._folder / f"{self._saving}{PARTIAL}", but=(STEP_METADATA,))

    def _set_aside(self) -> None:
        if not self._damaged:
            return
        if jax.process_index() == 0:
            for step in self._damaged:
                aside = self._folder / f"{step}{DAMAGED}"
                shutil.rmtree(aside, ignore_errors=True)  # one that was saved anew before this one
                (self._folder / str(step)).rename(aside)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints are set aside")
        self._manager.close()
        self._manager = self._opened()  # to reload it is to read the metadata of all
        self._damaged = []

    def _delete_replaced(self) -> None:
        """Deletes what was set aside and is saved anew."""
        if jax.process_index() > 0:
            return
        names = [path.name for path in self._folder.iterdir()]
        newest = max((int(name) for name in names if name.isdecimal()), default=-1)
        for name in names:
            step = name.removesuffix(DAMAGED)
            if step != name and step.isdecimal() and int(step) <= newest:
                shutil.rmtree(self._folder / name)

    def _warn_of_others(self) -> None:
        steps = set(map(str, self._manager.all_steps()))
        for path in self._folder.iterdir():
            is_known = path.name in steps or path.suffix == DAMAGED or PARTIAL in path.name
            if path.is_dir() and not is_known:
                log.warning("%s is no checkpoint by its name: it is left out", path)


def _fault(folder: pathlib.Path) -> str:
    """What is wrong with the files of a checkpoint, "" where nothing is known to be."""
    metadata = folder / STEP_METADATA
    try:
        described = json.loads(metadata.read_bytes()) if metadata.is_file() else {}
        step = (described.get("custom_metadata") or {}).get("step")
    except (OSError, ValueError, AttributeError):
        return f"{metadata} is damaged"
    if step is None and not (folder / checksums.FILE).exists():
        log.warning("%s has no %s: damage would go unseen", folder, checksums.FILE)
        return ""
    if step != int(folder.name):
        return f"{folder} is not the checkpoint of this step, or its {STEP_METADATA} is damaged"
    try:
        for name, actual in checksums.changed(folder, checksums.read(folder / checksums.FILE)):
            what = "is not the file that was saved" if actual else "is missing"
            return f"{folder / name} {what}"
    except (OSError, ValueError) as error:
        return str(error)
    return ""
