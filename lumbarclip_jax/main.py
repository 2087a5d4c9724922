"""python -m lumbarclip_jax.main --config=configs/vit_linear.py[:quick] --workdir=runs/x

Trains and evaluates one config. Re-running the same command continues a stopped run. Any field is
set from the command line: --config.optim.lr=3e-4 --config.data.dir=DIR.

On many hosts the same command, with --distributed, is started once a host (see launch/). All of
them see the same --workdir; process 0 writes to it, and all write their part of a checkpoint.
"""

import logging
import os
import pathlib

from absl import flags
from ml_collections import config_flags

from lumbarclip_jax import cli, hosts

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "run file, e.g. configs/vit_linear.py or configs/vit_linear.py:quick"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of this run (default: runs/<config name>)")
flags.mark_flag_as_required("config")

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.main")


def cache_folder() -> pathlib.Path:
    """Where the embedded data set and compiled programs are kept between runs."""
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    return pathlib.Path(os.environ.get("LUMBARCLIP_CACHE", default / "lumbarclip_jax"))


def main() -> None:
    config = CONFIG.value
    workdir = WORKDIR.value or f"runs/{config.name}"
    if "://" in workdir:
        raise ValueError(
            f"--workdir={workdir} is an address, not a folder: mount it, or choose a folder "
            "that all processes share"
        )
    with hosts.joined():
        # Imported here, after the flags are checked: a typo should not wait for JAX to start.
        import jax

        from lumbarclip_jax.train import train_and_evaluate

        if jax.config.jax_compilation_cache_dir is None:
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        if not config.data.dir:
            from data_prep.embedded import ensure_phantom

            # Every process asks: of those that share a cache folder one builds, the others wait.
            folder = ensure_phantom(
                cache_folder(),
                patients=config.data.phantom_patients,
                seed=0,
                difficulty=config.data.phantom_difficulty,
            )
            log.info("no --config.data.dir given: training on the embedded phantom, %s", folder)
            config.data.dir = str(folder)
        train_and_evaluate(config, workdir)


if __name__ == "__main__":
    cli.run(main)
