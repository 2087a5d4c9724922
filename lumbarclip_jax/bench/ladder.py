"""python -m lumbarclip_jax.bench.ladder --config=configs/vit_linear.py --batch_size=8 \\
    --config.data.dir=DIR --out=ladder

Says where the time of a training step goes, on the devices there are. Every rung does one thing
more than the one before: forward pass, backward pass, optimizer, loss over the gathered negatives,
augmentation, input from memory, input from the shards of --config.data.dir. Below them stands what
the device does at best: the matrix products of the model, alone. Writes ladder.json and ladder.md.
"""

import logging
import pathlib

from absl import flags
from ml_collections import config_flags

from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.bench.ladder")


def _define_flags() -> None:
    config_flags.DEFINE_config_file("config", None, "run file, e.g. configs/vit_linear.py")
    flags.DEFINE_integer("batch_size", None, "pairs a step (default: the config's)", 1)
    flags.DEFINE_integer("vocab_size", 30_522, "rows of the token table, without a data set", 5)
    flags.DEFINE_integer("warmup_steps", 3, "of every rung, not timed", 1)
    flags.DEFINE_integer("steps", 10, "of every rung in a repeat", 1)
    flags.DEFINE_integer("repeats", 5, "of all rungs in turn; the median is quoted", 1)
    flags.DEFINE_string("out", "ladder", "path of the two files, without .json and .md")
    flags.mark_flag_as_required("config")


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    # Imported here, after the flags are checked: a typo should not wait for JAX to start.
    from lumbarclip_jax.bench import machine
    from lumbarclip_jax.bench.ladder_page import render
    from lumbarclip_jax.bench.ladder_row import Protocol, measure

    config = options.config
    if options.batch_size:
        config.data.global_batch_size = options.batch_size
    protocol = Protocol(options.warmup_steps, options.steps, options.repeats)
    row = {"command": machine.command(log.name)} | measure(config, options.vocab_size, protocol)
    machine.write(pathlib.Path(options.out), row, render(row), log)


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
