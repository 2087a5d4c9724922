"""The options of a build: each has its name, default, meaning and limits here, once.

`Options` is what `build` takes by keyword. `define_flags` makes the flags of the command from the
same fields, and `given` reads them back.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Any

from absl import flags

from data_prep.build.runners import RUNNERS
from data_prep.images.pixels import SPACING_MM, WINDOWS
from data_prep.records import grades
from data_prep.records.scan import LEVEL_METHODS, NO_COLUMNS, Columns
from data_prep.sources import SOURCES


def _flag(
    meaning: str,
    *,
    name: str = "",
    choices: Collection[str] = (),
    at_most: int = 0,
    default: object = None,
) -> Mapping[str, object]:
    """What a field of `Options` says of its flag and of its values.

    Args:
      meaning: the help of the flag.
      name: the flag, where it is not called like the field.
      choices: the texts it may be.
      at_most: the largest number it may be, from 1 on.
      default: of the flag, where the command has another one than `build`.
    """
    return {
        "meaning": meaning,
        "name": name,
        "choices": tuple(choices),
        "at_most": at_most,
        "default": default,
    }


MAX_WORKERS = 256


def all_cores() -> int:
    """Worker processes for the whole machine, as many as are allowed."""
    return min(os.cpu_count() or 1, MAX_WORKERS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How a data set is built.

    Raises:
      ValueError: a number is out of its limits, or a text is none of the choices.
    """

    source: str = field(
        default="mendeley", metadata=_flag("layout of --images", choices=sorted(SOURCES))
    )
    grades_file: pathlib.Path | None = field(
        default=None,
        metadata=_flag(f"table of Pfirrmann grades: {', '.join(grades.COLUMNS)}", name="grades"),
    )
    findings_file: pathlib.Path | None = field(
        default=None,
        metadata=_flag("JSON lines of findings by patient and level", name="findings"),
    )
    label_table: pathlib.Path | None = field(
        default=None,
        metadata=_flag("table of labels by patient or image: each further column is a task"),
    )
    texts_file: pathlib.Path | None = field(
        default=None,
        metadata=_flag(
            "table of further texts by patient or image, beside the report", name="texts"
        ),
    )
    label_reports: bool = field(
        default=True,
        metadata=_flag(
            "read findings from the reports where --findings gives none, see "
            "data_prep.label_reports"
        ),
    )
    columns: Columns = NO_COLUMNS  # a flag each, see `Columns`
    levels: str = field(
        default="auto",
        metadata=_flag("how the disc of a slice is told", choices=LEVEL_METHODS),
    )
    slice_tables: pathlib.Path | None = field(
        default=None,
        metadata=_flag("--source=mendeley: folder of Slices Numbers.csv"),
    )
    keep_doubtful: bool = field(
        default=False,
        metadata=_flag("keep images of which it is doubtful whether they bear text"),
    )
    spacing_mm: float = field(default=SPACING_MM, metadata=_flag("pixel size of the stored images"))
    window: str = field(
        default="full", metadata=_flag("which values span black to white", choices=WINDOWS)
    )
    split_shares: str = field(
        default="train=0.7,validation=0.1,test=0.2",
        metadata=_flag("share of the patients of each split", name="splits"),
    )
    seed: int = field(default=0, metadata=_flag("seed of the splits"))
    key_file: pathlib.Path | None = field(
        default=None,
        metadata=_flag("secret that ids are made with; made when absent (default: OUT.key)"),
    )
    size_px: int = field(
        default=320, metadata=_flag("side of the stored images in pixels", at_most=2048)
    )
    shard_records: int = field(
        default=256, metadata=_flag("about how many records a shard holds", at_most=10**6)
    )
    split_file: pathlib.Path | None = field(
        default=None, metadata=_flag("table of patient, split, instead of --splits")
    )
    workers: int = field(
        default=1, metadata=_flag("worker processes", at_most=MAX_WORKERS, default=all_cores())
    )
    runner: str = field(default="local", metadata=_flag("who converts the shards", choices=RUNNERS))
    beam_options: str = field(default="", metadata=_flag("flags of Apache Beam, for --runner=beam"))
    stage: str = field(
        default="all",
        metadata=_flag("part of the build to run", choices=("all", "plan", "convert", "commit")),
    )
    overwrite: bool = field(default=False, metadata=_flag("replace the data set in --out"))

    def __post_init__(self):
        for option, name in _flagged():
            value = getattr(self, option.name)
            at_most, choices = option.metadata["at_most"], option.metadata["choices"]
            if at_most and not 1 <= value <= at_most:
                raise ValueError(f"--{name} is {value}: choose a number from 1 to {at_most}")
            if choices and value not in choices:
                raise ValueError(f"--{name} is {value!r}: choose one of {', '.join(choices)}")


_DEFINE: dict[Any, Callable] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
    pathlib.Path | None: flags.DEFINE_string,
}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Makes the flags of the command, one for each option and each column."""
    for column in dataclasses.fields(Columns):
        meaning = f"--source=folder: column of {column.metadata['holds']}"
        _DEFINE[str](f"{column.name}_column", column.default, meaning, flag_values=values)
    for option, name in _flagged():
        meaning, choices = option.metadata["meaning"], option.metadata["choices"]
        default: Any = option.metadata["default"] or option.default
        if choices:
            flags.DEFINE_enum(name, default, choices, meaning, flag_values=values)
        else:
            _DEFINE[option.type](name, default, meaning, flag_values=values)
    old = "the old spelling of --nokeep_doubtful"
    flags.DEFINE_bool("keep_nothing_doubtful", None, old, flag_values=values)


def given(values: flags.FlagValues) -> dict[str, object]:
    """What the flags of the command say, as the keywords of `build`.

    Raises:
      ValueError: an option and its old spelling say opposite things.
    """
    said: dict[str, object] = {}
    for option, name in _flagged():
        value = values[name].value
        if option.type == pathlib.Path | None:
            value = pathlib.Path(value) if value else None
        said[option.name] = value
    said["columns"] = Columns(
        **{
            column.name: values[f"{column.name}_column"].value or ""
            for column in dataclasses.fields(Columns)
        }
    )
    if (nothing := values["keep_nothing_doubtful"].value) is not None:
        if values["keep_doubtful"].present and said["keep_doubtful"] == nothing:
            raise ValueError(
                "--keep_doubtful and its old opposite, --keep_nothing_doubtful, contradict each "
                "other: leave out the old one"
            )
        said["keep_doubtful"] = not nothing
    return said


def _flagged() -> list[tuple[dataclasses.Field, str]]:
    """The options that are one flag each, with its name."""
    return [
        (option, option.metadata["name"] or option.name)
        for option in dataclasses.fields(Options)
        if option.metadata
    ]
