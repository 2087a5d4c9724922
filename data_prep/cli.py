"""Command-line edge shared by all commands: bad input is one sentence, not a traceback."""

import errno
import functools
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable

from absl import app, flags
from absl import logging as absl_logging

from data_prep.process import output, signals

# Ends with status 2: the input is to blame, or the loss is no number any more.
INPUT_ERRORS = (ValueError, OSError, FloatingPointError)
BUG_STATUS = os.EX_SOFTWARE  # 70
REMEDIES = {
    errno.EACCES: "choose another place, or change who may use this one",
    errno.EDQUOT: "make room, and run the command again",
    errno.EIO: "the disk fails, or its server does not answer",
    errno.EISDIR: "a folder is in the way, choose another name",
    errno.ENOENT: "correct the name",
    errno.ENOSPC: "make room on that disk, and run the command again",
    errno.ENOTDIR: "a file is where a folder should be, choose another place",
    errno.EROFS: "choose a place that can be written",
}


def run(
    main: Callable[[], None], argv: list[str] | None = None, *, plain: str | None = None
) -> None:
    """Parses the flags of `argv`, or of this process, and runs `main`.

    Both `--name=value` and `--name value` set a flag, and a plain argument the one called `plain`,
    which the command needs. `--help` ends with status 0.
    One of `INPUT_ERRORS` is printed as one sentence and ends the process with status 2;
    `--verbosity=1` adds the traceback. Another error is a mistake of this package: its traceback
    comes with a sentence that says so, and status 70. SIGTERM and Ctrl-C: see `signals`.
    """
    signals.install()
    output.make_robust()
    # Our own lines are shown plainly. The libraries log through absl, where only warnings show.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Lines("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    for name in ("data_prep", "lumbarclip_jax"):
        own = logging.getLogger(name)
        own.setLevel(logging.INFO)
        own.addHandler(handler)
        own.propagate = False
    parse = functools.partial(_parse, plain=plain)
    app.run(lambda _: _guarded(main), argv, flags_parser=parse)


class _Lines(logging.Formatter):
    """The message after the time, and before it what makes it more than news."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            record.message = f"{record.levelname.lower()}: {record.message}"
        return super().formatMessage(record)


def _parse(argv: list[str], plain: str | None) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except SystemExit:  # absl has shown the help, which it calls a failure
        sys.exit(0)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _exit(error)
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    if plain and flags.FLAGS[plain].value is None:
        if len(rest) < 2:
            _exit(ValueError(f"--{plain} is missing: {flags.FLAGS[plain].help}"))
        flags.FLAGS[plain].value = rest.pop(1)
    if len(rest) > 1:
        _exit(
            ValueError(
                f"unexpected argument {rest[1]!r}: options are written --name=value or "
                "--name value, those of yes or no --name or --noname"
            )
        )
    return rest


def _guarded(main: Callable[[], None]) -> None:
    try:
        main()
        sys.stdout.flush()
    except Exception as error:
        is_bug = status(error) == BUG_STATUS
        if is_bug or absl_logging.get_verbosity() >= absl_logging.DEBUG:
            traceback.print_exc()
        if not is_bug:
            _exit(error)
        print(
            f"error: this is a bug in lumbarclip_jax ({type(error).__name__}): please report it "
            "with the lines above, once you have seen that they hold nothing of a patient",
            file=sys.stderr,
            flush=True,
        )
        sys.exit(BUG_STATUS)


def _exit(error: BaseException) -> None:
    said = sentence(error)
    if "data_dir" in flags.FLAGS and "config" not in flags.FLAGS:
        said = said.replace("--config.data.dir", "--data_dir")  # as this command calls it
    print(f"error: {said}", file=sys.stderr, flush=True)
    sys.exit(2)


def status(error: BaseException) -> int:
    """With which an error ends a command."""
    mended_by_user = isinstance(error, INPUT_ERRORS) or is_out_of_memory(error)
    return 2 if mended_by_user else BUG_STATUS


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, has too little memory for what was asked."""
    if isinstance(error, OSError):  # a disk has too little, see `files`
        return False
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def sentence(error: BaseException) -> str:
    """The error's text on one line; an unknown config field is called by that name."""
    if is_out_of_memory(error):
        said = " ".join(str(error).split())[:160]
        return (
            f"the memory is too small ({said}): lower --config.data.global_batch_size, or see "
            "'too large for the memory?' in README.md"
        )
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0)
        return f"{place}{error.strerror}" + (f": {remedy}" if remedy else "")
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
