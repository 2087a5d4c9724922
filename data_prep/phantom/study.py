"""One patient's study on disk, in the folders of the published lumbar set."""

import pathlib

import numpy as np

from data_prep.phantom import dicom_files, sagittal
from data_prep.phantom.acquisition import acquire, draw_scan
from data_prep.phantom.anatomy import Patient
from data_prep.phantom.canvas import pixel_axis_mm
from data_prep.phantom.geometry import axial_plane, slice_offsets_mm
from data_prep.phantom.identities import draw_identity
from data_prep.phantom.render import render_block

SEQUENCES = ("T1", "T2")  # the order of the renderer's channels
_REGIONS = ("L-SPINE_LSS", "L-SPINE_CLINICAL_LIBRARIES", "C-SPINE_C-SPINE")
_AXIAL_NAMES = {"T1": ("t1_tse_tra", "t1_tse_tra_320"), "T2": ("t2_tse_tra_384", "t2_tse_tra_320")}


def write_study(folder: pathlib.Path, patient: Patient, slices_per_disc: int) -> None:
    """Writes the study of `patient` under `folder`, the patient's own: a localizer, a sagittal T2,
    the axial T2 and T1, and a position display."""
    rng = patient.rng("study")
    identity = draw_identity(patient)
    region = rng.choice(_REGIONS, p=[0.8, 0.16, 0.04])
    folder = folder / f"{region}_{identity.visited:%Y%m%d_%H%M%S_%f}"
    header = dicom_files.study_header(patient, identity, str(region))
    syntax = dicom_files.transfer_syntax(patient)
    moved = rng.random() < 0.2  # a repositioned patient: each series has its own frame
    first = int(rng.choice([4, 5], p=[0.8, 0.2]))
    names = {s: str(rng.choice(_AXIAL_NAMES[s], p=[0.85, 0.15])) for s in SEQUENCES}
    narrow = rng.random() < 0.02  # a few published studies are 320 x 310
    order = _instance_order(rng, slices_per_disc)

    def frame(number):
        return dicom_files.uid(header.StudyInstanceUID, "frame", number if moved else 0)

    blocks = _render_blocks(patient, slices_per_disc)
    for sequence, number in (("T2", first), ("T1", first + 1)):
        ds = dicom_files.series_header(header, names[sequence], number, 180 * number)
        dicom_files.add_acquisition(ds, sequence, int(names["T2"][-3:]))
        images = _scan_blocks(patient, sequence, blocks)
        if narrow:
            images = [(pixels[:, 5:-5], plane) for pixels, plane in images]
        _write_series(folder, patient, ds, [images[i] for i in order], frame(number), syntax)

    views = _scan_sagittal(patient)
    ds = dicom_files.series_header(header, "t2_tse_sag_384", 2, 360)
    dicom_files.add_acquisition(ds, "T2", 384)
    _write_series(folder, patient, ds, views, frame(2), syntax)
    ds = dicom_files.series_header(header, "localizer", 1, 0)
    dicom_files.add_acquisition(ds, "T1", 192)
    _write_series(folder, patient, ds, views[1:2], frame(1), syntax, stem="LOCALIZER_0")

    name = names["T2"]
    ds = dicom_files.series_header(header, f"posdisp: [{first}] {name}", 5001, 1800)
    dicom_files.secondary_capture(ds)
    screen = sagittal.position_display(patient, views[1][0], identity.name.replace("^", " "))
    _write_series(
        folder,
        patient,
        ds,
        [(screen, None)],
        None,
        dicom_files.ExplicitVRLittleEndian,
        stem=f"POSDISP_[{first}]_{name.upper()}",
    )


def _instance_order(rng, slices_per_disc):
    """Which slice, counted from the head, gets instance 1, 2, ...: mostly head to feet, sometimes
    feet to head, sometimes the odd slices before the even ones as interleaved scans store them."""
    slices = list(range(3 * slices_per_disc))
    kind = rng.choice(["down", "up", "interleaved"], p=[0.75, 0.15, 0.10])
    if kind == "up":
        return slices[::-1]
    return slices if kind == "down" else slices[::2] + slices[1::2]


def _render_blocks(patient, slices_per_disc):
    """Per level: (clean signal [K, 2, H, W], depth below the skin [H, W], K planes)."""
    offsets = slice_offsets_mm(slices_per_disc)
    return [
        (*render_block(patient, i, offsets), [axial_plane(patient, i, o) for o in offsets])
        for i in range(len(patient.levels))
    ]


def _scan_blocks(patient, sequence, blocks):
    """The (pixels, plane) of one axial series, from the head down."""
    channel = SEQUENCES.index(sequence)
    scan = draw_scan(patient, channel)
    rng = patient.rng("noise", channel)
    back = pixel_axis_mm()[:, None]
    return [
        (acquire(image[channel], depth, back, scan, rng, patient.difficulty), plane)
        for signal, depth, planes in blocks
        for image, plane in zip(signal, planes, strict=True)
    ]


def _scan_sagittal(patient):
    """Three sagittal T2 (pixels, plane); neighbours differ by noise alone."""
    signal, depth, back = sagittal.render_sagittal(patient)
    scan = draw_scan(patient, 2)
    rng = patient.rng("noise", 2)
    return [
        (acquire(signal[1], depth, back, scan, rng, patient.difficulty), sagittal.plane(x_mm))
        for x_mm in (4.4, 0.0, -4.4)
    ]


def _write_series(folder, patient, ds, images, frame_of_reference, syntax, stem=None):
    """One series folder, `<DESCRIPTION>_<number>/<STEM>_<patient>_<instance>.ima`."""
    description = stem if stem and stem.startswith("POSDISP") else ds.SeriesDescription.upper()
    folder = folder / f"{description}_{ds.SeriesNumber:04d}"
    folder.mkdir(parents=True)
    for instance, (pixels, plane) in enumerate(images, start=1):
        if plane is not None:
            dicom_files.place(ds, plane, pixels.shape, frame_of_reference)
        name = f"{stem or description}_{patient.number:04d}_{instance:03d}.ima"
        dicom_files.write_image(folder / name, ds, instance, np.ascontiguousarray(pixels), syntax)
