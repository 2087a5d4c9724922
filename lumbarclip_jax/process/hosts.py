"""Runs of several processes: how they meet, and what is said when one of them is lost."""

import atexit
import contextlib
import ctypes
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from absl import flags

from data_prep.process import signals
from lumbarclip_jax.process import cli

DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "this process is one of several that work on one run. On Cloud TPU, Slurm and Open MPI nothing "
    "more is needed; elsewhere every process is given the three flags below",
)
COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address",
    None,
    "HOST:PORT that process 0 opens for the others (also read from JAX_COORDINATOR_ADDRESS)",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "number of processes", lower_bound=1)
PROCESS_ID = flags.DEFINE_integer("process_id", None, "0 .. num_processes - 1", lower_bound=0)
PEER_TIMEOUT_S = flags.DEFINE_integer(
    "peer_timeout_s", 30, "seconds of silence after which another process counts as lost", 5
)

JOIN_TIMEOUT_S = 300

log = logging.getLogger(__name__)


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """The block is run by all processes of a run together, as the flags say; alone without them.

    Only process 0 logs more than warnings. A process that fails ends at once, and one that loses
    another ends within about `--peer_timeout_s` with a sentence that says so and status 1, whatever
    it was waiting for.

    Raises:
      ValueError: the flags, or the cluster's environment, do not say which process this is.
    """
    if not DISTRIBUTED.value:
        for flag in (COORDINATOR_ADDRESS, NUM_PROCESSES, PROCESS_ID):
            if flag.present:
                raise ValueError(f"--{flag.name} is of no use alone: add --distributed")
        yield
        return

    _join()
    import jax
    from jax.experimental import multihost_utils

    try:
        yield
        multihost_utils.sync_global_devices("the run has ended")
    except BaseException as error:
        # At its usual end JAX waits for all processes, but they wait for this one in a collective.
        atexit.register(os._exit, cli.status(error))
        _wait_for_the_others(error)
        if jax.process_index() == 0:
            # The coordinator goes last: the others, failing alike, should say so and not miss it.
            time.sleep(2)
        raise


def _wait_for_the_others(error: BaseException) -> None:
    """Returns once all processes have met an error, or none of them can be lost.

    How the loss of a process first shows depends on what was in flight, and may be an error of any
    kind. The coordinator finds out meanwhile, and then this process ends here, see _explain_abort.
    """
    from jax._src import distributed  # the one way to its coordinator that needs no device

    seconds = PEER_TIMEOUT_S.value + 10
    until = time.monotonic() + seconds
    said = f"{' '.join(str(error).split())[:300]}; is another process lost?"
    doubt = threading.Timer(3, log.error, [said])
    doubt.start()
    try:
        coordinator: Any = distributed.global_state.client
        coordinator.wait_at_barrier("all have failed", seconds * 1000)
    except RuntimeError:
        time.sleep(max(0, until - time.monotonic()))
    finally:
        doubt.cancel()


def _join() -> None:
    import jax

    address = COORDINATOR_ADDRESS.value
    if address and not re.fullmatch(r".+:\d+", address):
        raise ValueError(f"--coordinator_address={address} is not of the form HOST:PORT")
    if address and PROCESS_ID.value == 0:
        # JAX 0.10.2 crashes on a port that is taken.
        try:
            socket.create_server(("", int(address.rpartition(":")[2]))).close()
        except OSError as error:
            raise ValueError(
                f"--coordinator_address={address} cannot be opened ({error.strerror}): choose "
                "another port, for all processes"
            ) from error
    # Its handler of SIGTERM would take the place of ours, see preemption.
    jax.config.update("jax_enable_preemption_service", False)
    _explain_abort(
        f"not all processes of this run met within {JOIN_TIMEOUT_S} s: start every one of them, "
        "with the same --coordinator_address, which all must be able to reach"
    )
    given = (address, NUM_PROCESSES.value, PROCESS_ID.value)
    try:
        jax.distributed.initialize(
            *given,
            # Looked for in vain, a cluster is warned of.
            cluster_detection_method=None if None in given else "deactivate",
            initialization_timeout=JOIN_TIMEOUT_S,
            heartbeat_timeout_seconds=PEER_TIMEOUT_S.value,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"--distributed could not join the other processes ({str(error).rstrip('.')}): pass "
            "--coordinator_address=HOST:PORT --num_processes=N --process_id=I to each of them, "
            "which only Cloud TPU, Slurm and Open MPI do without, or leave --distributed out to "
            "use this machine alone"
        ) from error
    signals.defer()
    _explain_abort(
        "another process of this run has gone or cannot be reached (JAX's own words are above): "
        "start all processes again with the same command; training continues from its last "
        "checkpoint"
    )
    if jax.process_index() == 0:
        log.info("%d processes", jax.process_count())
    else:
        logging.getLogger("lumbarclip_jax").setLevel(logging.WARNING)


_installed: list[object] = []  # what C code calls is kept from collection


def _explain_abort(sentence: str) -> None:
    """Makes abort() print a sentence and end the process with status 1.

    When a process is lost, JAX's coordination client prints what it knows and calls abort() from a
    thread of its own, whatever the main thread does. Handlers of Python's signal module never get
    to run then, so this one is installed below it.
    """

    def handler(number: int) -> None:
        # Of several that were told to stop, one is the first to end.
        if not signals.stopped_early():
            os.write(2, f"error: {sentence}\n".encode())
            os._exit(1)
        os._exit(0)

    installed = ctypes.CFUNCTYPE(None, ctypes.c_int)(handler)
    _installed.append(installed)
    ctypes.CDLL(None).signal(signal.SIGABRT, installed)
