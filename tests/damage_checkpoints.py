"""Damages checkpoints and says what became of each.

    python tests/damage_checkpoints.py --damages=500 --seed=0

Every damage is done to a copy of three checkpoints of known arrays, few and small, for speed. What
is restored has to be the newest arrays as they were saved, or older ones as they were saved and a
warning, or a sentence that refuses; and after older ones the damaged step has to be saved anew.
Prints a summary as JSON; the exit status is 1 when anything else happened.
"""

import argparse
import collections
import json
import logging
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from lumbarclip_jax.run_folder import checkpoints, checksums
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.training.train_step import TrainState

STEPS = (2, 4, 6)

Random = np.random.Generator
Damage = Callable[[Random, pathlib.Path], None]


def a_file(rng: Random, folder: pathlib.Path) -> pathlib.Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return files[rng.integers(len(files))]


def an_array_file(rng: Random, folder: pathlib.Path) -> pathlib.Path:
    files = sorted((folder / "state").rglob("d/*"))
    return files[rng.integers(len(files))]


def flip(path: pathlib.Path, rng: Random, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    for place in rng.integers(len(content), size=bits if content else 0):
        content[place] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def change_an_array(folder: pathlib.Path) -> pathlib.Path:
    """Flips a bit in the largest file of arrays, which is returned."""
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def flip_array_bit(rng: Random, folder: pathlib.Path) -> None:
    flip(an_array_file(rng, folder), rng)


def flip_any_bit(rng: Random, folder: pathlib.Path) -> None:
    flip(a_file(rng, folder), rng)


def flip_many_bits(rng: Random, folder: pathlib.Path) -> None:
    flip(a_file(rng, folder), rng, bits=64)


def zero_a_sector(rng: Random, folder: pathlib.Path) -> None:
    path = an_array_file(rng, folder)
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content)))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    path.write_bytes(content)


def truncate(rng: Random, folder: pathlib.Path) -> None:
    path = a_file(rng, folder)
    os.truncate(path, rng.integers(path.stat().st_size))


def empty(rng: Random, folder: pathlib.Path) -> None:
    a_file(rng, folder).write_bytes(b"")


def append(rng: Random, folder: pathlib.Path) -> None:
    with a_file(rng, folder).open("ab") as file:
        file.write(rng.bytes(16))


def delete(rng: Random, folder: pathlib.Path) -> None:
    a_file(rng, folder).unlink()


def delete_a_folder(rng: Random, folder: pathlib.Path) -> None:
    shutil.rmtree(folder / ("state", "data", "state/d")[rng.integers(3)])


def swap_two_files(rng: Random, folder: pathlib.Path) -> None:
    one, other = a_file(rng, folder), a_file(rng, folder)
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])


def mix_with_another_step(rng: Random, folder: pathlib.Path) -> None:
    older = folder.parent / str(STEPS[0])
    part = ("state", "data", "_CHECKPOINT_METADATA", checksums.FILE)[rng.integers(4)]
    if (older / part).is_dir():
        shutil.rmtree(folder / part)
        shutil.copytree(older / part, folder / part)
    else:
        shutil.copy(older / part, folder / part)


def add_a_file(rng: Random, folder: pathlib.Path) -> None:
    beside = a_file(rng, folder)
    names = (".DS_Store", beside.name + " (copy)", "._" + beside.name, "process_1", "0" * 32)
    added = beside.with_name(names[rng.integers(len(names))])
    added.write_bytes(beside.read_bytes() if rng.integers(2) else rng.bytes(64))


def make_unreadable(rng: Random, folder: pathlib.Path) -> None:
    path = a_file(rng, folder)
    if os.geteuid():
        path.chmod(0)
    else:  # root reads whatever it likes, but no folder as if it were a file
        path.unlink()
        path.mkdir()


def delete_the_list(rng: Random, folder: pathlib.Path) -> None:
    (folder / checksums.FILE).unlink()


def cut_the_list(rng: Random, folder: pathlib.Path) -> None:
    path = folder / checksums.FILE
    os.truncate(path, rng.integers(path.stat().st_size))


def garble_a_description(rng: Random, folder: pathlib.Path) -> None:
    names = ("_CHECKPOINT_METADATA", "state/_METADATA", "state/_sharding", "data/metadata")
    path = folder / names[rng.integers(len(names))]
    texts = (b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", rng.bytes(40))
    path.write_bytes(texts[rng.integers(len(texts))])


def rename(rng: Random, folder: pathlib.Path) -> None:
    names = ("8", "6.bak", "6 (copy)", "06", "step_6", "600")
    folder.rename(folder.with_name(names[rng.integers(len(names))]))


def swap_two_steps(rng: Random, folder: pathlib.Path) -> None:
    older, away = folder.parent / str(STEPS[1]), folder.parent / "away"
    folder.rename(away)
    older.rename(folder)
    away.rename(older)


DAMAGES: tuple[Damage, ...] = (
    flip_array_bit,
    flip_array_bit,
    flip_any_bit,
    flip_many_bits,
    zero_a_sector,
    truncate,
    empty,
    append,
    delete,
    delete_a_folder,
    swap_two_files,
    mix_with_another_step,
    add_a_file,
    make_unreadable,
    delete_the_list,
    cut_the_list,
    garble_a_description,
    rename,
    swap_two_steps,
)


def drawn(step: int) -> TrainState:
    """A state that differs from that of any other step in every array."""
    rng = np.random.default_rng(step)
    params = {
        "image_encoder": {"kernel": rng.normal(size=(64, 48)), "bias": rng.normal(size=48)},
        "logit_scale": rng.normal(),
    }
    params = jax.tree.map(np.float32, params)
    moments = {name: jax.tree.map(lambda x: x + np.float32(step), params) for name in ("mu", "nu")}
    state = TrainState(np.int32(step), params, {"mean": np.full(48, step, np.float32)}, moments, {})
    return jax.tree.map(jax.device_put, state)


class Damager:
    """Counts what becomes of damaged checkpoints."""

    def __init__(self, seed: int, folder: pathlib.Path):
        self._rng = np.random.default_rng(seed)
        self._whole, self._copy = folder / "whole", folder / "copy"
        self._states = {step: drawn(step) for step in STEPS}
        self._abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            self._states[STEPS[0]],
        )
        with Checkpointer(self._whole, keep=len(STEPS)) as checkpointer:
            for step, state in self._states.items():
                checkpointer.save(step, state, {"read": step})
        self._warnings: list[str] = []
        listener = logging.Handler(logging.WARNING)
        listener.emit = lambda record: self._warnings.append(record.getMessage())
        checkpoints.log.addHandler(listener)
        checkpoints.log.propagate = False
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def __call__(self) -> None:
        """Does one damage to the newest checkpoint, one time in five to all of them."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._whole, self._copy)
        damage = DAMAGES[self._rng.integers(len(DAMAGES))]
        newest = self._copy / "checkpoints" / str(STEPS[-1])
        to_all = damage not in (rename, swap_two_steps, mix_with_another_step)
        to_all = to_all and self._rng.integers(5) == 0
        for step in reversed(STEPS) if to_all else (STEPS[-1],):
            damage(self._rng, newest.with_name(str(step)))
        name = damage.__name__ + (" of all" if to_all else "")
        self._warnings.clear()
        try:
            outcome = self._restored()
        except (ValueError, FileNotFoundError) as error:
            outcome = "refused in a sentence" if str(self._copy) in str(error) else repr(error)
        except Exception as error:
            outcome = repr(error)
        self.outcomes[f"{name}: {outcome}"[:200]] += 1
        if outcome not in GOOD:
            self.wrong.append(f"{name}: {outcome}"[:500])

    def _restored(self) -> str:
        with Checkpointer(self._copy, keep=len(STEPS)) as checkpointer:
            state, position = checkpointer.restore(self._abstract)
            step = position["read"]
            if not self._is(step, state):
                return "SILENTLY WRONG"
            if step == STEPS[-1]:
                return "as saved"
            if not self._warnings:
                return "older without a warning"
            checkpointer.save(STEPS[-1], self._states[STEPS[-1]], {"read": STEPS[-1]})
        self._warnings.clear()
        with Checkpointer(self._copy, keep=len(STEPS)) as checkpointer:
            state, position = checkpointer.restore(self._abstract)
        saved_anew = position["read"] == STEPS[-1] and self._is(STEPS[-1], state)
        return "older with a warning, saved anew" if saved_anew else "NOT SAVED ANEW"

    def _is(self, step: int, state) -> bool:
        same = jax.tree.map(np.array_equal, self._states[step], state)
        return all(jax.tree.leaves(same))


GOOD = ("as saved", "older with a warning, saved anew", "refused in a sentence")


def damage_all(damages: int, seed: int) -> dict:
    """The summary of a run."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        damager = Damager(seed, pathlib.Path(folder))
        for _ in range(damages):
            damager()
    totals = collections.Counter()
    for outcome, count in damager.outcomes.items():
        totals[outcome.split(": ", 1)[1]] += count
    return {
        "damages": damages,
        "outcomes": dict(totals.most_common()),
        "by_kind": dict(sorted(damager.outcomes.items())),
        "wrong": damager.wrong[:20],
        "passed": not damager.wrong,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = damage_all(options.damages, options.seed)
    print(json.dumps(result, indent=1))
    sys.exit(not result["passed"])
