"""python -m lumbarclip_jax.bench.forms --out=forms

Times every operation that is written for XLA's CPU compiler (`lumbarclip_jax/xla_cpu`) beside the
plain one, each with its gradient and in turn, and says which forms the installed jaxlib may no
longer need. Writes forms.json and forms.md.
"""

import functools
import logging
import pathlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

from absl import flags

from lumbarclip_jax.bench import machine
from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.bench.forms")

# Of the plain form to the written one: below this the written one is not worth its lines.
WORTH_IT = 1.1


def _define_flags() -> None:
    flags.DEFINE_integer("calls", 10, "of each form in a repeat", 1)
    flags.DEFINE_integer("repeats", 7, "of both forms in turn; ratios are of medians", 1)
    flags.DEFINE_string("out", "forms", "path of the two files, without .json and .md")


def main() -> None:
    """Runs the command.

    Raises:
      ValueError: JAX computes on something else than a CPU.
    """
    options = flags.FLAGS
    # Imported here, after the flags are checked: a typo should not wait for JAX to start.
    import jax

    if jax.default_backend() != "cpu":
        raise ValueError("these forms are for CPUs alone: set JAX_PLATFORMS=cpu")
    row = {
        "command": machine.command(log.name),
        "machine": machine.describe(),
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib")},
        "calls": options.calls,
        "repeats": options.repeats,
        "forms": measure(options.calls, options.repeats),
    }
    machine.write(pathlib.Path(options.out), row, render(row), log)


def measure(calls: int, repeats: int, *, tiny: bool = False) -> dict[str, dict[str, float]]:
    """Milliseconds of both forms of each pair, and their ratio; `tiny` shapes are for a test."""
    import jax

    from lumbarclip_jax.bench.form_pairs import PAIRS, arguments, with_gradients
    from lumbarclip_jax.bench.timing import interleaved

    rows = {}
    for name, pair in PAIRS.items():
        arrays = arguments(pair.tiny if tiny else pair.shapes)
        compiled = {
            form: with_gradients(function).lower(*arrays).compile()
            for form, function in (("written", pair.written), ("plain", pair.plain))
        }

        def task(run: Callable, arrays: tuple[jax.Array, ...], calls: int) -> None:
            for _ in range(calls):
                jax.block_until_ready(run(*arrays))

        tasks = {form: functools.partial(task, run, arrays) for form, run in compiled.items()}
        for warm_up in tasks.values():
            warm_up(1)
        times = interleaved(tasks, calls, repeats)
        written, plain = times["written"].median_s, times["plain"].median_s
        rows[name] = {
            "written_ms": 1e3 * written,
            "plain_ms": 1e3 * plain,
            "plain_of_written": plain / written,
        }
        log.info("%s: the plain form takes %.2f of the written one's time", name, plain / written)
    return rows


def render(row: dict[str, Any]) -> str:
    """The page of a row as `main` makes it."""
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    lines = [
        "# Forms for XLA's CPU compiler",
        "",
        f"    {row['command']}",
        "",
        f"Value and gradient, both forms in turn, medians of {row['repeats']} repeats of "
        f"{row['calls']} calls; shapes of a model of full size at 8 pairs (`bench/form_pairs.py`). "
        f"{versions}. {machine.sentence(row['machine'])}.",
        "",
        f"A form may go once the plain one takes less than {WORTH_IT} of its time here, and a "
        "whole step without it is neither slower nor longer to compile. That of the bias is there "
        "for the compiler: 361 programs fewer in a step of ViT-B and BERT.",
        "",
        "| operation | as written, ms | plain, ms | plain / written | |",
        "|---|---|---|---|---|",
    ]
    for name, times in row["forms"].items():
        ratio = times["plain_of_written"]
        verdict = "needed" if ratio >= WORTH_IT else "try a step without it"
        lines.append(
            f"| {name} | {times['written_ms']:.2f} | {times['plain_ms']:.2f} | {ratio:.2f} | "
            f"{verdict} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
