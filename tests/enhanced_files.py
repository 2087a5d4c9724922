"""An enhanced MR file: several frames, each with what functional groups say of it."""

import numpy as np
import pydicom
from pydicom.uid import EnhancedMRImageStorage

from tests import data_prep_cohort as cohort
from tests import dicom_syntaxes

AXIAL = cohort.ORIENTATIONS["axial"]


def enhanced(tmp_path, *, orientations=(), frame_types=(), image_type="ORIGINAL"):
    """An enhanced MR of three frames: positions, slopes and windows of their own.

    `orientations` and `frame_types`, by frame, are those of frames that have one of their own.
    """
    array = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    dataset = cohort.slice_dataset([9, 9, 9], array[0], orientation=AXIAL)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.ImageType = [image_type, "PRIMARY", "M", "NONE"]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, name)
    delattr(dataset, "SpacingBetweenSlices")
    dicom_syntaxes.set_pixels(dataset, array, dicom_syntaxes.ExplicitVRLittleEndian)

    def group(name, **values):
        item = pydicom.Dataset()
        for field, value in values.items():
            setattr(item, field, value)
        holder = pydicom.Dataset()
        setattr(holder, name, [item])
        return holder

    shared = pydicom.Dataset()
    for part in (
        group("PlaneOrientationSequence", ImageOrientationPatient=AXIAL),
        group("PixelMeasuresSequence", PixelSpacing=[1.5, 0.5], SpacingBetweenSlices=4.4),
        group("MREchoSequence", EffectiveEchoTime=95.0),
        group("MRTimingAndRelatedParametersSequence", RepetitionTime=4000.0),
    ):
        shared.update(part)
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in range(3):
        frame = group("PlanePositionSequence", ImagePositionPatient=[0, 0, 10.0 * number])
        frame.update(
            group("FrameVOILUTSequence", WindowCenter=30.0, WindowWidth=10.0 * (number + 1))
        )
        frame.update(
            group(
                "PixelValueTransformationSequence", RescaleSlope=number + 1, RescaleIntercept=number
            )
        )
        if number in orientations:
            orientation = orientations[number]
            frame.update(group("PlaneOrientationSequence", ImageOrientationPatient=orientation))
        if number in frame_types:
            frame.update(group("MRImageFrameTypeSequence", FrameType=frame_types[number]))
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dicom_syntaxes.save(dataset, tmp_path / "enhanced.dcm")
    return tmp_path / "enhanced.dcm", array
