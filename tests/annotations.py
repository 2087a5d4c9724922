"""Holds rooms to their annotations, once this is imported before them.

To beartype an int is a float then, as it is to Python's type checkers.
"""

import contextlib
from collections.abc import Iterator

import jaxtyping

ROOMS = ("losses.imbalance", "images", "losses", "models", "objectives", "training", "xla_cpu")
SHAPED = [f"lumbarclip_jax.{room}" for room in ROOMS]
jaxtyping.install_import_hook(
    SHAPED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


@contextlib.contextmanager
def off() -> Iterator[None]:
    """Calls as in production: what breaks its annotation meets the package's own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
