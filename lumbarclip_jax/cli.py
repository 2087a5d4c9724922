"""The edge of this package's commands: that of `data_prep.cli`, with freed memory kept."""

from collections.abc import Callable

from data_prep import cli
from data_prep.cli import sentence, status
from lumbarclip_jax import host_memory

__all__ = ["run", "sentence", "status"]


def run(main: Callable[[], None], argv: list[str] | None = None) -> None:
    """As `data_prep.cli.run`, for a command that computes: see `host_memory`."""

    def keeping_memory() -> None:
        host_memory.keep_freed()
        main()

    cli.run(keeping_memory, argv)
