"""The edge of the commands: that of `data_prep.cli`, with freed memory kept and waits told."""

import difflib
from collections.abc import Callable, Collection

from absl import flags

from data_prep import cli
from data_prep.cli import sentence, status
from lumbarclip_jax.process import activity, host_memory

flags.disclaim_key_flags()  # what `define_names` defines is its caller's, whose --help shows it

__all__ = ["define_names", "run", "sentence", "status"]


def run(
    main: Callable[[], None],
    argv: list[str] | None = None,
    *,
    check: Callable[[], object] = lambda: None,
) -> None:
    """As `data_prep.cli.run`, for a command that computes: see `host_memory` and `activity`.

    Args:
      main: the command.
      argv: as there.
      check: raises where the flags contradict each other or the data; called before JAX is
        imported, for which a mistake should not wait.
    """

    def computing() -> None:
        check()
        host_memory.keep_freed()
        with activity.told():
            main()

    cli.run(computing, argv)


def define_names(
    flag: str, default: list[str] | None, known: Collection[str], about: str, *, required=False
) -> flags.FlagHolder:
    """A flag of names with commas between; one that is not `known` ends the command at once."""

    def check(names: list[str] | None) -> bool:
        if names == []:
            raise flags.ValidationError(f"name one or more of {', '.join(known)}")
        for name in names or ():
            if name not in known:
                guess = difflib.get_close_matches(name, known, 1)
                hint = f", did you mean {guess[0]}?" if guess else ";"
                there_are = f"there are {', '.join(known)}"
                raise flags.ValidationError(f"there is no {name}{hint} {there_are}")
        return True

    about = f"{about} {', '.join(known)}"
    holder = flags.DEFINE_list(flag, default, about, required=required)
    flags.register_validator(holder, check)
    return holder
