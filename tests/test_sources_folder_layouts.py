"""Discs spread over the series of an archive's studies, or scanned again in another."""

import collections

import pytest

from data_prep.images import pixels
from data_prep.records.drops import Reason
from data_prep.records.scan import Columns
from data_prep.sources import folder
from tests.archive_folder import Archive, scan, table

DISCS = {"L5-S1": range(3), "L4-L5": range(3, 6), "L3-L4": range(6, 9)}
MIDDLES = {"L5-S1": 1, "L4-L5": 4, "L3-L4": 7}


def reasons(scan) -> dict:
    return collections.Counter(drop.reason for drop in scan.drops)


def laid_out(tmp_path, *series, **fields):
    """What a study of some axial series, each (sequence, slices, options), gives.

    Returns (sequence, level) -> (number of the slice from below, its series), and the reasons.
    """
    archive = Archive(tmp_path / "archive")
    ids = {"PatientID": "7", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.3.9"}
    uids = [
        archive.series(ids | fields, sequence, slices=slices, **options)
        for sequence, slices, options in series
    ]
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    slices = {}
    for image in found.images:
        # A slice of number n holds 10 n of 1000.
        number = round(int(pixels.read(archive.root / image.path, 8)[4, 4, 0]) * 1000 / 255 / 10)
        slices[image.sequence, image.level] = (number, uids.index(image.series))
    return slices, reasons(found)


def test_a_series_a_disc_is_laid_out_with_the_others(tmp_path):
    found, left_out = laid_out(tmp_path, *(("T2", slices, {}) for slices in DISCS.values()))
    assert found == {("T2", level): (MIDDLES[level], n) for n, level in enumerate(DISCS)}
    assert not left_out


def test_upper_discs_in_another_series_are_counted_above_the_lower(tmp_path):
    found, left_out = laid_out(tmp_path, ("T2", range(6, 15), {}), ("T2", range(6), {}))
    levels = {"L5-S1": (1, 1), "L4-L5": (4, 1), "L3-L4": (7, 0)}
    assert found == {("T2", level): slice_ for level, slice_ in levels.items()}
    assert not left_out


def test_a_sequence_of_fewer_discs_is_counted_with_the_other(tmp_path):
    found, left_out = laid_out(tmp_path, ("T1", DISCS["L4-L5"], {}), ("T2", range(9), {}))
    assert found == {
        ("T1", "L4-L5"): (4, 0),
        **{("T2", level): (number, 1) for level, number in MIDDLES.items()},
    }
    assert left_out == {Reason.NO_DISC_BLOCK: 1}


@pytest.mark.parametrize("above_mm", [0.0, 3.0, -12.0])
def test_a_disc_scanned_again_is_no_other_disc(tmp_path, above_mm):
    again = ("T2", DISCS["L5-S1"], {"above_mm": above_mm})
    found, left_out = laid_out(tmp_path, again, ("T2", range(9), {}), again)
    assert found == {("T2", level): (number, 1) for level, number in MIDDLES.items()}
    reason = Reason.NO_DISC_BLOCK if above_mm < -10 else Reason.SERIES_NOT_CHOSEN
    assert left_out == {reason: 2}


@pytest.mark.parametrize("above_mm", [0.0, 3.0, 17.5])
def test_a_complete_repeat_is_a_rival_and_never_interleaved(tmp_path, above_mm):
    contrast = {"ContrastBolusAgent": "Gd", "above_mm": above_mm}
    found, left_out = laid_out(tmp_path, ("T1", range(9), {}), ("T1", range(9), contrast))
    assert found == {("T1", level): (number, 0) for level, number in MIDDLES.items()}
    assert left_out == {Reason.SERIES_NOT_CHOSEN: 1}


def test_of_series_a_disc_those_without_contrast_agent_are_taken(tmp_path):
    series = [
        ("T1", slices, {"ContrastBolusAgent": agent})
        for slices in DISCS.values()
        for agent in ("Gd", "")
    ]
    found, left_out = laid_out(tmp_path, *series)
    assert found == {("T1", level): (MIDDLES[level], 2 * n + 1) for n, level in enumerate(DISCS)}
    assert left_out == {Reason.SERIES_NOT_CHOSEN: 3}


@pytest.mark.parametrize("frames", [("1.2.3.1", "1.2.3.2", "1.2.3.3"), ("", "", "")])
def test_series_in_other_frames_or_in_none_are_not_laid_out_together(tmp_path, frames):
    series = [
        ("T2", slices, {"FrameOfReferenceUID": frame})
        for slices, frame in zip(DISCS.values(), frames, strict=True)
    ]
    with_two = ("T2", range(6), {"FrameOfReferenceUID": "1.2.3.4"})
    found, left_out = laid_out(tmp_path, *series, with_two)
    assert found == {("T2", "L5-S1"): (1, 3), ("T2", "L4-L5"): (4, 3)}
    assert left_out == {Reason.NO_DISC_BLOCK: 4}


def test_one_block_alone_is_no_level(tmp_path):
    found, left_out = laid_out(tmp_path, ("T1", range(9), {}), ("T2", range(3), {"above_mm": 15}))
    assert found == {("T1", level): (number, 0) for level, number in MIDDLES.items()}
    assert left_out == {Reason.NO_DISC_BLOCK: 1}


@pytest.mark.parametrize("stated_mm", [0.4, 8.8, -4.4, 0, 35.0, None])
def test_measured_steps_decide_whatever_the_spacing_says(tmp_path, stated_mm):
    stated = {"SpacingBetweenSlices": stated_mm}
    found, left_out = laid_out(tmp_path, ("T2", range(9), stated))
    assert found == {("T2", level): (number, 0) for level, number in MIDDLES.items()}
    assert not left_out


def test_a_series_of_both_sequences_is_two(tmp_path):
    both = {"SeriesInstanceUID": "1.2.3.4"}
    archive = Archive(tmp_path / "archive")
    ids = {"PatientID": "7", "StudyInstanceUID": "1.2.3"} | both
    for sequence in ("T1", "T2"):
        archive.series(ids, sequence)
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    assert len({(image.sequence, image.level) for image in found.images}) == 6
    assert not reasons(found)


def test_levels_by_column_in_a_series_a_disc(tmp_path):
    archive = Archive(tmp_path / "archive")
    ids = {"PatientID": "7", "StudyInstanceUID": "1.2.3"}
    uids = [archive.series(ids, "T2", slices=slices) for slices in DISCS.values()]
    archive.series(ids, "T2")
    rows = [("MRN", "Text", "File", "Disc")]
    for path in sorted(archive.root.rglob("IM*")):
        (header,) = folder.read_headers(path)
        if header.series in uids and header.instance in (3, 6, 9):  # the lowest of each block
            level = list(DISCS)[uids.index(header.series)]
            rows.append(("7", "a", path.relative_to(archive.root).as_posix(), level))
    columns = Columns(patient="MRN", report="Text", image="File", level="Disc")
    found = scan(archive.root, table(tmp_path / "r.csv", rows), columns)
    assert {image.level: image.series for image in found.images} == dict(
        zip(DISCS, uids, strict=True)
    )
    assert reasons(found) == {Reason.NO_DISC_BLOCK: 1}
