"""pydicom's own test files, and those of pydicom-data where it is installed, against pydicom."""

import importlib.util
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut

from data_prep.images import pixels
from data_prep.images.dicom import Rejected
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.headers import read_headers
from data_prep.records.drops import Reason

# Package -> its folder of files; how many are read, and how many are once they have a spacing.
FOLDERS = {
    "pydicom": ("data/test_files", 40, 46),
    "data_store": ("data", 13, 29),
}


def files(package: str) -> list[pathlib.Path]:
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    root = pathlib.Path(spec.origin).parent / FOLDERS[package][0]
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".py")


def expected(path: pathlib.Path) -> Iterator[np.ndarray]:
    """What pydicom makes of each frame, brighter meaning more signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        frames = dataset.pixel_array
        frames = frames if frames.ndim == 3 else frames[None]
        for number, frame in enumerate(frames):
            groups = dataset.get("PerFrameFunctionalGroupsSequence", [])[number : number + 1]
            groups = [*groups, *dataset.get("SharedFunctionalGroupsSequence", [])]
            name = "PixelValueTransformationSequence"
            rescale = next((group.get(name)[0] for group in groups if name in group), dataset)
            values = apply_modality_lut(frame, rescale).astype(np.float32)
            yield -values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def outcome(path: pathlib.Path) -> Reason | None:
    """None when every frame is as pydicom has it, else the reason to refuse the file.

    pydicom lacks decoders for some JPEG; a file that it cannot read has no reason, and no pixels
    to compare.
    """
    try:
        headers = read_headers(path)
        found = [read_pixels(path, frame) for frame in range(pixels.frames(path))]
    except Rejected as rejected:
        return Reason(rejected.reason)
    assert len(headers) == len(found)
    try:
        theirs = list(expected(path))
    except RuntimeError:
        return None
    for frame, values in zip(found, theirs, strict=True):
        np.testing.assert_allclose(frame.values, values, rtol=1e-6)
    return None


@pytest.mark.parametrize("package", FOLDERS)
def test_every_file_is_as_pydicom_has_it_or_has_a_reason(package, tmp_path):
    outcomes = {path: outcome(path) for path in files(package)}
    assert len(outcomes) > 60
    read = sum(reason is None for reason in outcomes.values())
    _, least, least_with_spacing = FOLDERS[package]
    assert read >= least
    for path, reason in outcomes.items():
        if reason != Reason.NO_GEOMETRY:
            continue
        # Many lack nothing else, and hold syntaxes, tables and frames of their own.
        copy = tmp_path / path.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, force=True)
            dataset.PixelSpacing = [1, 1]
            dataset.save_as(copy)
        read += outcome(copy) is None
    assert read >= least_with_spacing
