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
from ml_collections import ConfigDict, config_flags

from data_prep.process import signals
from lumbarclip_jax.process import cli, hosts
from lumbarclip_jax.process.cache import cache_folder
from lumbarclip_jax.training import config_check

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "run file, e.g. configs/vit_linear.py or configs/vit_linear.py:quick"
)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of this run (default: runs/<config name>)")
flags.mark_flag_as_required("config")
flags.adopt_module_key_flags(hosts)

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.main")


def _require_writable(workdir: pathlib.Path) -> None:
    """Asks the folder, or what there is of its path, before anything that takes time."""
    there = workdir.absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        why = "cannot be written" if there.is_dir() else "is no folder"
        raise ValueError(f"--workdir={workdir}: {there} {why}: choose another")


def _on_phantom(config: ConfigDict) -> ConfigDict:
    """The config with the embedded phantom for its data, which is drawn where it is not there."""
    from data_prep.phantom.embedded import ensure_phantom

    try:
        # Every process asks: of those that share a cache folder one builds, the others wait.
        folder = ensure_phantom(
            cache_folder(),
            patients=config.data.phantom_patients,
            seed=0,
            difficulty=config.data.phantom_difficulty,
        )
    except OSError as error:
        if error.filename is None:  # it says all that is needed
            raise
        raise ValueError(
            f"the phantom cannot be kept in {cache_folder()} ({error.strerror}): set "
            "LUMBARCLIP_CACHE to another folder, or train on --config.data.dir"
        ) from error
    log.info("no --config.data.dir given: training on the embedded phantom, %s", folder)
    config = config.copy_and_resolve_references()
    config.data.dir = str(folder)
    return config


def main() -> None:
    signals.set_resumable()
    config = CONFIG.value
    workdir = WORKDIR.value or f"runs/{config.name}"
    if "://" in workdir:
        raise ValueError(
            f"--workdir={workdir} is an address, not a folder: mount it, or choose a folder "
            "that all processes share"
        )
    _require_writable(pathlib.Path(workdir))
    config = config_check.validated(config)  # before minutes of drawing patients
    with hosts.joined():
        # Imported here, after the flags are checked: a typo should not wait for JAX to start.
        from lumbarclip_jax.process.cache import keep_compiled
        from lumbarclip_jax.train import train_and_evaluate

        keep_compiled()
        if not (config.data.dir or config.data.dirs):
            config = _on_phantom(config)
        train_and_evaluate(config, workdir)


if __name__ == "__main__":
    cli.run(main)
