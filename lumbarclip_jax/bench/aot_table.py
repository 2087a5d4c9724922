"""python -m lumbarclip_jax.bench.aot_table

Compiles the train step of every config for TPU slices of every generation and writes docs/aot: one
JSON file a compilation in rows/, and README.md made from them. What is in rows/ is not compiled
again, so an interrupted run goes on where it was. Each compilation is a process of its own, one
after another, at low priority.
"""

import json
import logging
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from absl import flags

from lumbarclip_jax.bench import aot_page
from lumbarclip_jax.bench.aot_rows import (
    BATCHES,
    CONFIGS,
    EFFORTS,
    MILLION,
    TOPOLOGIES,
    Step,
    file_name,
    guess_too_large,
)
from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.bench.aot_table")

COMPILE_LIMIT_S = 3600


class Rows:
    """The folder of rows: compiles what it does not have yet."""

    def __init__(self, folder: pathlib.Path, configs: pathlib.Path):
        self.folder, self.configs = folder, configs
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, step: Step) -> dict:
        out = self.folder / file_name(step)
        if not out.exists():
            self._compile(step, out)
        return json.loads(out.read_text())

    def all(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]

    def _compile(self, step: Step, out: pathlib.Path) -> None:
        log.info("compiling %s", out.stem)
        command = [
            "nice",
            sys.executable,
            "-m",
            "lumbarclip_jax.bench.aot",
            f"--config={self.configs / step.config}.py",
            f"--topology={step.topology}",
            f"--global_batch_size={step.global_batch_size}",
            f"--effort={step.effort}",
            f"--out={out}",
            "--config.model.remat=True",
            "--config.model.scan_layers=True",
            f"--config.optim.accumulation_steps={step.accumulation_steps}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_LIMIT_S)
        if done.returncode:
            raise ValueError(f"{' '.join(command[1:])} failed: {done.stderr[-2000:]}")


def compile_all(rows: Rows) -> Iterator[dict]:
    """Yields every row of the table, the most telling first."""
    for step in (*MILLION, *EFFORTS):
        yield rows.get(step)
    for batch in BATCHES:
        for topology in TOPOLOGIES:
            for config in CONFIGS:
                yield rows.get(Step(config, topology, batch))
    for topology in TOPOLOGIES:
        for config in CONFIGS:
            yield from _search_largest(rows, config, topology)


def _search_largest(rows: Rows, config: str, topology: str) -> Iterator[dict]:
    """Rows up to the first power of two that does not fit, and down to the last that does.

    From above, because what does not fit is known in seconds.
    """

    def row(pairs_a_chip: int) -> dict:
        return rows.get(Step(config, topology, pairs_a_chip * TOPOLOGIES[topology].chips))

    pairs = guess_too_large(*(rows.get(Step(config, topology, batch)) for batch in BATCHES))
    yield row(pairs)
    while row(pairs)["fits"]:
        pairs *= 2
        yield row(pairs)
    while not row(pairs)["fits"] and pairs > 1:
        pairs //= 2
        yield row(pairs)


def _define_flags() -> None:
    flags.DEFINE_string("out", "docs/aot", "folder of the table and its rows")
    flags.DEFINE_string("configs", "configs", "folder of the run files")
    flags.DEFINE_bool("compile", True, "false: only write the page from the rows there are")


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    out = pathlib.Path(options.out)
    rows = Rows(out / "rows", pathlib.Path(options.configs))
    page = out / "README.md"
    for _ in compile_all(rows) if options.compile else ():
        page.write_text(aot_page.render(rows.all()))
    page.write_text(aot_page.render(rows.all()))
    log.info("%d rows: %s", len(rows.all()), page)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
