"""Ids and names from outside never become a path."""

import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.build import build
from data_prep.records.scan import Columns
from tests.data_prep_cohort import ORIENTATIONS, block_position, slice_dataset

HOSTILE = [
    "../../evil", "..", ".", "/etc/passwd", "/tmp/evil", "~root/x", "a/../../b", "..\\..\\evil",
    "C:\\Windows\\x", "CON", "NUL.txt", "aux", "COM1", "\\\\host\\share", "file:///etc/passwd",
    "a\x00b", "a\nb", "a\tb", "a\rb", "$(touch evil)", "`touch evil`", "; rm -rf x", "| cat", "*",
    "%2e%2e%2f",
    "--out=/tmp/evil", "-rf", "ı\u0307İ", "\u202egnp.exe", "e\u0301\u200b", "名前/患者", "🦴" * 20,
    "a" * 4096, "=cmd|' /C calc'!A0", "{0.__class__}", "%s%n", "<script>alert(1)</script>",
]  # fmt: skip
OUTPUT = re.compile(
    r"set(\.key|\.dropped\.csv|\.splits\.csv)?|set/(manifest\.json|vocab\.txt|features\.json"
    r"|dataset_info\.json|splits\.csv|lumbar_mri-test\.array_record-\d{5}-of-\d{5})"
)


def tree(root):
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_nothing_is_written_outside_the_output_folder(tmp_path):
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    out.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (archive / "link").symlink_to(outside)
    rows = ["id,report"]
    for number, patient in enumerate(HOSTILE):
        cell = patient.replace('"', '""')
        rows.append(f'"{cell}",report number {number} of a disc bulge')
        for place in range(3):
            pixels = np.arange(64, dtype=np.uint16).reshape(8, 8) * (number + 1)
            corner = block_position(3 * place, 3)
            image = slice_dataset(corner, pixels, orientation=ORIENTATIONS["axial"])
            image.add_new("PatientID", "UT", patient)
            image.SpecificCharacterSet = "ISO_IR 192"
            image.StudyInstanceUID = image.SeriesInstanceUID = f"1.2.{number}"
            image.EchoTime, image.RepetitionTime = 11, 600
            image.ImageType = ["ORIGINAL", "PRIMARY"]
            image.save_as(archive / f"{number} {place} ..%2f", enforce_file_format=True)
    (tmp_path / "reports.csv").write_text("\n".join(rows), newline="", encoding="utf-8")
    before = tree(tmp_path)
    manifest = build(
        archive,
        tmp_path / "reports.csv",
        out / "set",
        source="folder",
        columns=Columns(patient="id", report="report"),
        split_shares="test=1",
        size_px=8,
    )
    written = tree(tmp_path) - before
    assert all(OUTPUT.fullmatch(name.removeprefix("out/")) for name in written), written
    assert len(HOSTILE) >= 30
    assert manifest["splits"]["test"]["patients"] >= 30
    for record in tfds.builder_from_directory(out / "set").as_data_source("test"):
        for name in ("patient_id", "study_id", "series_id", "image_id"):
            assert re.fullmatch(rb"[0-9a-f]{16}", record[name])
