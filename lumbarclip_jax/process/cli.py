"""The edge of the commands: that of `data_prep.cli`, with freed memory kept and waits told."""

from collections.abc import Callable

from data_prep import cli
from data_prep.cli import sentence, status
from lumbarclip_jax.process import activity, host_memory

__all__ = ["run", "sentence", "status"]


def run(main: Callable[[], None], argv: list[str] | None = None) -> None:
    """As `data_prep.cli.run`, for a command that computes: see `host_memory` and `activity`."""

    def computing() -> None:
        host_memory.keep_freed()
        with activity.told():
            main()

    cli.run(computing, argv)
