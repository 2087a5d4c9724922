"""Batches by threads and by processes: the same, from any position, until they are closed."""

import multiprocessing
import os
import pathlib
import signal
import threading
import time

import grain
import numpy as np
import pytest

from data_prep.process.signals import Stopped
from lumbarclip_jax.data import batch_reader
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.data.text_draws import TextDraws
from lumbarclip_jax.data.tokenizer import Tokenizer


@pytest.fixture
def read(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    tokenizer = Tokenizer(dataset.folder / "vocab.txt", max_tokens=12)
    opened = []

    def read(processes: int):
        opened.append(
            train_iterator(
                dataset,
                tokenizer,
                global_batch_size=4,
                seed=3,
                level_prefix=True,
                one_level_a_batch=True,
                text_draws=TextDraws(keep_sentence=0.5),
                read_threads=1,
                read_processes=processes,
                prefetch_batches=2,
            )
        )
        return opened[-1]

    yield read
    for reader in opened:
        reader.close()


def take(batches, count: int) -> list[dict]:
    return [next(batches) for _ in range(count)]


def assert_equal(found: list[dict], expected: list[dict]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_any_number_of_processes_makes_the_same_batches_and_goes_on_with_them(read):
    expected = take(read(0), 12)
    two = read(2)
    assert_equal(take(two, 5), expected[:5])
    position = two.get_state()
    assert position == {"next_index": 5}
    for processes in (0, 3):
        again = read(processes)
        again.set_state(position)
        assert_equal(take(again, 4), expected[5:9])
        again.set_state({"next_index": 1})
        assert_equal(take(again, 2), expected[1:3])
    assert_equal(take(two, 7), expected[5:])


def test_a_signal_to_the_group_leaves_the_batches_and_closing_ends_the_processes(read):
    expected = take(read(0), 20)
    reader = read(2)
    first = take(reader, 2)  # one of each: both are past their imports
    children = multiprocessing.active_children()
    assert len(children) == 2
    for child in children:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(child.pid, number)
    assert_equal(first + take(reader, 18), expected)  # more than was ready
    reader.close()
    assert not multiprocessing.active_children()
    assert_equal(take(reader, 1), take(read(0), 21)[20:])  # and goes on


def test_a_killed_process_is_named_at_once(read):
    reader = read(2)
    take(reader, 1)
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(OSError, match=rf"the process {victim.pid} .*status -9.*read_processes"):
        take(reader, 20)
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_frozen_process_is_named_and_the_run_can_be_stopped_meanwhile(read, monkeypatch):
    monkeypatch.setattr(batch_reader, "FROZEN_S", 3)
    reader = read(2)
    take(reader, 1)
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGSTOP)
    reader.unless(lambda: True)
    with pytest.raises(Stopped):
        take(reader, 20)
    reader.unless(lambda: False)
    with pytest.raises(OSError, match=rf"did nothing for 3 s, look at {victim.pid} \(stopped\)"):
        take(reader, 20)
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 15
    assert not multiprocessing.active_children()


class Hung(grain.MapDataset):
    """Batches from a disk that does not answer."""

    def __init__(self):
        super().__init__()
        self.answer = threading.Event()

    def __len__(self):
        return 1_000

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        self.answer.wait()
        return {"images": np.zeros(1)}


def test_a_hung_thread_does_not_keep_the_run_from_being_stopped():
    hung = Hung()
    reader = batch_reader.BatchReader(hung, threads=1, processes=0, ahead=1)
    stopped = threading.Event()
    reader.unless(stopped.is_set)
    threading.Timer(1, stopped.set).start()
    with pytest.raises(Stopped):
        next(reader)
    assert reader.get_state() == {"next_index": 0}
    reader.close()
    hung.answer.set()


def live(ready, grace_s) -> None:
    batch_reader.GRACE_S = grace_s
    batch_reader._live_with_the_run(0, 1)
    ready.put(os.getpid())
    while True:
        time.sleep(0.1)


def test_a_process_that_was_asked_to_stop_has_a_time_of_grace():
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Queue()
    process = spawn.Process(target=live, args=(ready, 1), daemon=True)
    process.start()
    ready.get(timeout=60)
    process.terminate()
    process.join(30)
    assert process.exitcode == -signal.SIGALRM


def live_in_a_run(ready) -> None:
    live_there = multiprocessing.get_context("spawn").Process(target=live, args=(ready, 600))
    live_there.start()
    live_there.join()


def test_a_process_ends_with_a_run_that_is_killed():
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Queue()
    run = spawn.Process(target=live_in_a_run, args=(ready,))
    run.start()
    pid = ready.get(timeout=60)
    run.kill()
    run.join(30)
    for _ in range(300):
        if not pathlib.Path(f"/proc/{pid}").exists() or "Z" in status(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("it outlived its run by 30 s")


def status(pid: int) -> str:
    """Of a process that may be gone: an orphan is reaped by whoever is first in the container."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
