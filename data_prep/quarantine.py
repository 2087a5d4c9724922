"""Which DICOM images may not be used at all, whatever they show."""

import pydicom

from data_prep.drops import Reason

# What `kind` looks at: a reader of headers that skips other fields must read these.
FIELDS = ("BurnedInAnnotation", "ImageType", "SeriesDescription", "SOPClassUID")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def kind(dataset: pydicom.Dataset) -> Reason | None:
    """None for an original image, else the reason to leave it out."""
    types = {str(value).upper() for value in dataset.get("ImageType") or ()}
    description = str(dataset.get("SeriesDescription", "")).lower()
    if dataset.get("BurnedInAnnotation") == "YES":
        return Reason.BURNED_IN
    if dataset.get("SOPClassUID", "").startswith(SECONDARY_CAPTURE):
        return Reason.DERIVED_OR_SECONDARY
    if types & {"DERIVED", "SECONDARY", "POSDISP"} or "posdisp" in description:
        return Reason.DERIVED_OR_SECONDARY
    if "LOCALIZER" in types or any(w in description for w in ("localizer", "survey", "scout")):
        return Reason.LOCALIZER
    return None
