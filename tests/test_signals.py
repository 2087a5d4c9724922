"""SIGTERM and Ctrl-C from the first import on: one sentence, the right status, no traceback."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
QUICK = "--config=configs/vit_linear.py:quick"
# Python runs it before the command: a thread sends the signal once a module is being imported.
WHEN_IMPORTED = """
import os, sys, threading, time
def send():
    while os.environ["MODULE"] not in sys.modules:
        time.sleep(0.001)
    os.kill(os.getpid(), int(os.environ["NUMBER"]))
threading.Thread(target=send, daemon=True).start()
"""
# Nothing interrupts the second lock, as nothing interrupts a compiler or a disk.
IN_A_LONG_CALL = """
import ctypes
from data_prep import signals
signals.HANDLER_S = signals.AGREEING_S = signals.ENDING_S = 0.2
signals.install()
{setting}
print("ready", flush=True)
mutex = ctypes.create_string_buffer(128)
for _ in range(2):
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize(
    ("command", "module", "number", "status"),
    [
        ("lumbarclip_jax.main", "absl", signal.SIGTERM, 0),
        ("lumbarclip_jax.main", "orbax.checkpoint", signal.SIGINT, 0),
        ("lumbarclip_jax.evaluate", "absl", signal.SIGINT, 130),
        ("lumbarclip_jax.sweep", "ml_collections", signal.SIGTERM, 143),
        ("data_prep.build", "numpy", signal.SIGTERM, 143),
        ("data_prep.label_reports", "data_prep.label_reports", signal.SIGINT, 130),
    ],
)
def test_a_signal_while_modules_load(command, module, number, status, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WHEN_IMPORTED)
    result = subprocess.run(
        [sys.executable, "-m", command, QUICK, f"--workdir={tmp_path / 'run'}"],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "PYTHONPATH": f"{tmp_path}:{REPOSITORY}",
            "MODULE": module,
            "NUMBER": str(int(number)),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == status, result.stderr
    name = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}[number]
    assert result.stderr.startswith(f"stopped by {name}, ")
    assert ("run the same command to continue" in result.stderr) == (status == 0)
    assert len(result.stderr.splitlines()) == 1


def in_a_long_call(setting: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_LONG_CALL.format(setting=setting)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # it is in the call by then
    process.terminate()
    return process


def test_a_call_that_does_not_return_is_left_when_nothing_is_lost():
    process = in_a_long_call("signals.set_resumable()")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said.count("run the same command to continue")) == (0, 1)


def test_steps_that_are_not_saved_are_waited_for():
    process = in_a_long_call("signals.set_resumable(); signals.set_unsaved(True)")
    time.sleep(2)
    assert process.poll() is None
    process.kill()
    _, said = process.communicate()
    assert said == "stopping as soon as the step in progress ends and is saved\n"


TWICE = """
import os
from data_prep import signals
signals.install()
signals.set_resumable()
signals.set_unsaved(True)
signals.defer()
for _ in range(2):
    os.kill(os.getpid(), 2)
    print("goes on", flush=True)
"""


def test_a_second_ctrl_c_ends_at_once_and_does_not_claim_to_have_saved():
    result = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 130
    assert result.stdout == "goes on\n"
    assert "without saving: the same command continues from the last checkpoint" in result.stderr
