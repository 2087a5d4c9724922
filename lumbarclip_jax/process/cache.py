"""What is kept between commands, so that it is made once: compiled programs and the phantom."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """Where the embedded data set and compiled programs are kept between runs.

    Raises:
      ValueError: there is no such place.
    """
    if own := os.environ.get("LUMBARCLIP_CACHE"):
        return pathlib.Path(own)
    try:
        shared = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError as error:
        raise ValueError(
            "there is no home folder to keep compiled programs and the phantom in: set HOME, or "
            "LUMBARCLIP_CACHE to a folder that can be written"
        ) from error
    return pathlib.Path(shared, "lumbarclip_jax")


def keep_compiled() -> None:
    """Programs that this process compiles are kept, and found by the next, unless JAX was told."""
    import jax  # where a program is about to be compiled: to ask for the folder needs none

    # pyrefly: ignore [missing-attribute]  # an option that JAX adds at run time
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
