"""Command-line edge shared by all commands: bad input is one sentence, not a traceback."""

import logging
import re
import sys
import traceback
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from lumbarclip_jax import host_memory

# Ends with status 2: the input is to blame, or the loss is no number any more.
INPUT_ERRORS = (ValueError, OSError, FloatingPointError)


def run(main: Callable[[], None], argv: list[str] | None = None) -> None:
    """Parses the flags of `argv`, or of this process, and runs `main`.

    One of `INPUT_ERRORS` is printed as one sentence and ends the process with status 2;
    `--verbosity=1` adds the traceback.
    """
    # Our own lines are shown plainly. The libraries log through absl, where only warnings show.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    own = logging.getLogger("lumbarclip_jax")
    own.setLevel(logging.INFO)
    own.addHandler(handler)
    own.propagate = False
    app.run(lambda _: _guarded(main), argv, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _exit(error)
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    if len(rest) > 1:
        _exit(ValueError(f"unexpected argument {rest[1]!r}: every option is written --name=value"))
    return rest


def _guarded(main: Callable[[], None]) -> None:
    host_memory.keep_freed()
    try:
        main()
    except INPUT_ERRORS as error:
        if absl_logging.get_verbosity() >= absl_logging.DEBUG:
            traceback.print_exc()
        _exit(error)


def _exit(error: BaseException) -> None:
    print(f"error: {sentence(error)}", file=sys.stderr, flush=True)
    sys.exit(2)


def sentence(error: BaseException) -> str:
    """The error's text on one line; an unknown config field is called by that name."""
    text = str(error.args[0]) if len(error.args) == 1 else str(error)
    if isinstance(error, AttributeError | KeyError):
        names = re.findall(r"\w+", text.replace("\\n", " ").partition("Did you mean")[0])
        hint = re.search(r'Did you mean "(\w+)"', text)
        guess = f", did you mean {hint[1]}" if hint else ""
        return f"unknown config field {names[0]}{guess}? The fields are listed in configs/base.py"
    text = " ".join(text.split())
    missing = re.search(r"Failed loading config file.*Attempted \[.*?\]: (\S+) \[Errno 2\]", text)
    if missing:
        return f"there is no config file {missing[1]}: run files are in configs/"
    if "Error whilst parsing config file" in text:
        # ml_collections embeds a whole traceback; its last line is what get_config said.
        return re.split(r"\w+Error: ", text)[-1]
    return text
