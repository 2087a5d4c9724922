"""What a source found: the images to use and everything it left out."""

import dataclasses

from data_prep.drops import Drop


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """One image to convert. `path` is relative to the images folder; `sha256` is of the file."""

    patient: str
    study: str
    level: str
    plane: str
    sequence: str
    path: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Scan:
    """The outcome of looking through an images folder; `form` names the layout found."""

    form: str
    images: list[ImageRef]
    drops: list[Drop]
