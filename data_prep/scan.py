"""What a source found: the images to use and everything it left out."""

import dataclasses

from data_prep.drops import Drop


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """One image to convert. `path` is relative to the images folder; `sha256` is of the file.

    `series` is the source's id of its series, and `frame` its place in a file of several images.
    """

    patient: str
    study: str
    level: str
    plane: str
    sequence: str
    path: str
    sha256: str
    series: str = ""
    frame: int = 0


@dataclasses.dataclass(frozen=True)
class Scan:
    """The outcome of looking through an images folder; `form` names the layout found.

    `reports` holds the texts (patient -> text) of a source that has no written reports and makes
    them from its grades; it is None where reports are read from a table.
    """

    form: str
    images: list[ImageRef]
    drops: list[Drop]
    reports: dict[str, str] | None = None
