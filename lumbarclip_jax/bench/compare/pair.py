"""Runs both sides on the same batches, turn by turn, and makes a row of what comes out."""

import dataclasses
import logging
import pathlib
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax.bench.compare.options import Options, prepared
from lumbarclip_jax.bench.compare.rows import ratio, relative_differences
from lumbarclip_jax.bench.compare.worker import Worker
from lumbarclip_jax.bench.machine import describe
from lumbarclip_jax.training import config_check

log = logging.getLogger(__name__)

AGREEMENT_STEPS = 20
TOLERANCE = 1e-4  # of float32 losses, relative
AGREEMENT_PAIRS = 32  # a batch of a float32 run that is only for the losses
WARM_UP_STEPS = 2


def compare(config: ConfigDict, options: Options, is_checked: bool = True) -> dict:
    """A row, ready for JSON.

    A float32 run without random draws shows times and, in its first steps, that both sides compute
    the same. Any other run is preceded by such a one for the losses alone, if `is_checked`.

    Raises:
      ValueError: the config cannot run, or the losses differ.
      RuntimeError: a side failed.
    """
    config = config_check.validated(config)
    agreement = None
    if is_checked and (options.dtype != "float32" or options.is_random):
        exact = dataclasses.replace(
            options,
            batch_size=min(options.batch_size, AGREEMENT_PAIRS),
            dtype="float32",
            is_random=False,
            torch_compile="off",
            steps=AGREEMENT_STEPS - WARM_UP_STEPS,
            steps_per_turn=1,
        )
        agreement = _run(prepared(config, exact), exact)["agreement"]
    row = _run(prepared(config, options), options)
    return row | ({"agreement": agreement} if agreement else {})


def _run(config: ConfigDict, options: Options) -> dict:
    is_exact = options.dtype == "float32" and not options.is_random
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = pathlib.Path(scratch, "weights"), str(pathlib.Path(scratch, "cache"))
        folder.mkdir()
        machine = describe()
        with (
            Worker("JAX", config, options, cache) as jax_side,
            Worker("PyTorch", config, options, cache) as torch_side,
            ThreadPoolExecutor(2) as both,
        ):
            sides = {"JAX": jax_side, "PyTorch": torch_side}
            ours, theirs = both.map(lambda side: side("versions"), sides.values())
            accelerator = torch_side("accelerator")
            matrix_library = torch_side("matrix_library")
            jax_side("create", folder)
            torch_side("create", folder)
            compiling = both.submit(jax_side, "compile")
            if options.device == "cpu":
                compiling.result()  # PyTorch takes all cores for its first step
            torch_side("reset_peak")
            first = torch_side("take", 0, 1)  # in which PyTorch compiles
            cold = compiling.result()
            log.info("%s: JAX compiled in %.1f s", config.name, cold["compile_s"])
            jax_side("reset_peak")
            started = {"JAX": jax_side("take", 0, 1), "PyTorch": first}
            seconds, losses = _take_turns(
                sides, started, options, config.name if is_exact else None
            )
            peaks = {name: side("peak_bytes") for name, side in sides.items()}
        with Worker("JAX", config, options, cache) as again:
            warm = again("compile")

    timed = {
        name: [s / options.steps_per_turn for s in turns[WARM_UP_STEPS:]]
        for name, turns in seconds.items()
    }
    first = {name: values[:AGREEMENT_STEPS] for name, values in losses.items()}
    return {
        "config": config.name,
        **dataclasses.asdict(options),
        "image_size_px": config.data.image_size_px,
        "max_tokens": config.data.max_tokens,
        "agreement": {
            "dtype": options.dtype,
            "batch_size": options.batch_size,
            "tolerance": TOLERANCE if is_exact else None,
            "losses": first,
            "largest_difference": float(relative_differences(first["JAX"], first["PyTorch"]).max()),
        },
        "step_s": timed,
        "ratio": ratio(timed["JAX"], timed["PyTorch"]),
        "peak_bytes": peaks,
        "compile": {
            "JAX": cold,
            "JAX warm": warm,
            # What the first step took longer than the others.
            "PyTorch": {"first_step_s": seconds["PyTorch"][0] - float(np.median(timed["PyTorch"]))},
        },
        "versions": ours | theirs | {"python": platform.python_version()},
        "machine": machine | {"accelerator": accelerator, "matrix_library": matrix_library},
    }


def _take_turns(
    sides: dict[str, Worker], started: dict, options: Options, exact: str | None
) -> tuple:
    """Seconds of every turn and losses of every step, by side, from what they `started` with.

    The first turns are single steps, in which both sides settle. Sides swap the order from turn to
    turn, so that none always follows the other. `exact` names a config whose losses must agree.
    """
    turns = [1] * (WARM_UP_STEPS - 1)
    turns += [options.steps_per_turn] * max(1, options.steps // options.steps_per_turn)
    seconds = {name: [took] for name, (took, _) in started.items()}
    losses = {name: list(values) for name, (_, values) in started.items()}
    step = 1
    for turn, count in enumerate(turns):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            took, values = sides[name]("take", step, count)
            seconds[name].append(took)
            losses[name] += values
        step += count
        log.info("step %d: " + ", ".join(f"{n} {s[-1]:.3f} s" for n, s in seconds.items()), step)
        if exact:
            check_agreement(exact, losses)
    return seconds, losses


def check_agreement(config_name: str, losses: dict[str, list[float]]) -> None:
    """Raises ValueError if one of the first losses differs by more than `TOLERANCE`."""
    ours, theirs = (losses[name][:AGREEMENT_STEPS] for name in ("JAX", "PyTorch"))
    differences = relative_differences(ours, theirs)
    apart = np.flatnonzero(~(differences <= TOLERANCE))  # NaN is apart, too
    if apart.size:
        step = int(apart[0])
        raise ValueError(
            f"the losses of {config_name} part at step {step}: JAX {ours[step]:.7f}, PyTorch "
            f"{theirs[step]:.7f}, relative difference {differences[step]:.1e} of {TOLERANCE:g} "
            "allowed; times of different computations are not compared"
        )
