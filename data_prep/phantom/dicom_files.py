"""Valid DICOM MR files with planted identities, in several transfer syntaxes."""

import datetime
import hashlib
import logging
import pathlib

import numpy as np
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from data_prep.phantom.anatomy import Patient
from data_prep.phantom.geometry import SLICE_SPACING_MM, SLICE_THICKNESS_MM, Plane
from data_prep.phantom.identities import Identity

# The encoder reports every picture at INFO, which absl programs print.
logging.getLogger("openjpeg").setLevel(logging.WARNING)

# One entry a patient, in turn: the first ten meet all six. JPEG 2000, deflate and RLE encode
# slowly, so only one patient in twenty has each.
_FAST = (ExplicitVRLittleEndian, JPEGLSLossless, ImplicitVRLittleEndian)
_SLOW = (JPEG2000Lossless, DeflatedExplicitVRLittleEndian, RLELossless)
TRANSFER_SYNTAXES = (*_FAST, *_SLOW, *_FAST, *_FAST, *_FAST, *_FAST, *_FAST[:2])

# Echo time and repetition time in ms, echo train, flip angle in degrees.
_TIMING = {"T1": (11.0, 560.0, 3, 150.0), "T2": (103.0, 3700.0, 17, 150.0)}


def uid(*parts) -> UID:
    """A UID of the 2.25 root that only depends on `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def transfer_syntax(patient: Patient) -> UID:
    return TRANSFER_SYNTAXES[(patient.number - 1) % len(TRANSFER_SYNTAXES)]


def study_header(patient: Patient, identity: Identity, protocol: str) -> Dataset:
    """The attributes every file of the study shares, identities included."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = f"{identity.visited:%Y%m%d}"
    ds.StudyTime = f"{identity.visited:%H%M%S.%f}"
    ds.AccessionNumber = identity.accession
    ds.Modality = "MR"
    ds.Manufacturer = "SIEMENS"
    ds.InstitutionName = identity.institution
    ds.InstitutionAddress = identity.address
    ds.ReferringPhysicianName = identity.physician
    ds.StudyDescription = protocol
    ds.PerformingPhysicianName = identity.physician
    ds.OperatorsName = identity.operator
    ds.ManufacturerModelName = "Phantom"
    ds.StationName = "MRUMBERFORD1"
    ds.PatientName = identity.name
    ds.PatientID = identity.hospital_id
    ds.PatientBirthDate = f"{identity.birth_date:%Y%m%d}"
    ds.PatientSex = patient.sex
    ds.PatientAge = f"{patient.age_years:03d}Y"
    ds.PatientSize = patient.height_m
    ds.PatientWeight = patient.weight_kg
    ds.PatientTelephoneNumbers = identity.telephone
    ds.BodyPartExamined = "LSPINE"
    ds.MagneticFieldStrength = 1.5
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = uid(patient.seed, patient.number, "study")
    ds.StudyID = "1"
    ds.PositionReferenceIndicator = ""
    private = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    private.add_new(0x10, "OB", f'tPatientName = "{identity.name}"\0\0'.encode())
    private = ds.private_block(0x0019, "UMBERFORD RIS 1.0", create=True)
    private.add_new(0x01, "LO", f"{identity.name.replace('^', ' ')} / {identity.telephone}")
    return ds


def series_header(study: Dataset, description: str, number: int, start_s: int) -> Dataset:
    """The study's header plus the attributes of one series, begun `start_s` after the study."""
    ds = Dataset()
    ds.update(study)
    began = datetime.datetime.strptime(ds.StudyDate + ds.StudyTime, "%Y%m%d%H%M%S.%f")
    began += datetime.timedelta(seconds=start_s)
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = f"{began:%Y%m%d}"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"{began:%H%M%S.%f}"
    ds.SeriesDescription = ds.ProtocolName = description
    ds.SeriesInstanceUID = uid(ds.StudyInstanceUID, number)
    ds.SeriesNumber = number
    ds.AcquisitionNumber = 1
    return ds


def add_acquisition(ds: Dataset, sequence: str, matrix: int) -> None:
    """MR acquisition attributes of a turbo spin echo, T1 or T2."""
    echo_ms, repetition_ms, train, flip_deg = _TIMING[sequence]
    ds.SOPClassUID = MRImageStorage
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence = "SE"
    ds.SequenceVariant = ["SK", "SP"]
    ds.ScanOptions = "SAT1"
    ds.MRAcquisitionType = "2D"
    ds.SequenceName = "*tse2d1"
    ds.RepetitionTime = repetition_ms
    ds.EchoTime = echo_ms
    ds.EchoNumbers = 1
    ds.EchoTrainLength = train
    ds.FlipAngle = flip_deg
    ds.NumberOfAverages = 2
    ds.ImagingFrequency = 63.6
    ds.ImagedNucleus = "1H"
    ds.PixelBandwidth = 190
    ds.AcquisitionMatrix = [0, matrix, matrix, 0]
    ds.InPlanePhaseEncodingDirection = "ROW"
    ds.SliceThickness = SLICE_THICKNESS_MM
    ds.SpacingBetweenSlices = SLICE_SPACING_MM


def place(ds: Dataset, plane: Plane, shape, frame_of_reference: UID) -> None:
    """Geometry attributes of a picture of `shape` (H, W) lying in `plane`."""
    position = plane.position_mm(shape)
    ds.ImagePositionPatient = [_decimal(x) for x in position]
    ds.ImageOrientationPatient = [_decimal(x) for x in (*plane.row, *plane.column)]
    ds.FrameOfReferenceUID = frame_of_reference
    ds.SliceLocation = _decimal(position @ plane.normal)
    ds.PixelSpacing = [plane.spacing_mm, plane.spacing_mm]


def secondary_capture(ds: Dataset) -> None:
    """Marks a screenshot: no geometry, a name in the pixels."""
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER", "POSDISP"]
    ds.BurnedInAnnotation = "YES"


def write_image(path: pathlib.Path, ds: Dataset, instance: int, pixels, syntax: UID) -> None:
    """Writes `pixels` [H, W] (uint16 of 12 bits, or uint8) as instance `instance` of a series.

    `ds` is used again and again by one series: it keeps the attributes set here.
    """
    ds.InstanceNumber = instance
    ds.SOPInstanceUID = uid(ds.SeriesInstanceUID, instance)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = 8 * pixels.itemsize
    ds.BitsStored = 12 if pixels.itemsize == 2 else 8
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = 0
    ds.WindowCenter, ds.WindowWidth = int(pixels.max()) // 2, max(1, int(pixels.max()))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.ImplementationClassUID = uid("lumbar phantom")
    ds.file_meta.ImplementationVersionName = "LUMBAR_PHANTOM"
    if syntax in (RLELossless, JPEGLSLossless):
        ds.compress(syntax, pixels, generate_instance_uid=False)
    elif syntax == JPEG2000Lossless:
        code = encode_array(np.ascontiguousarray(pixels), ds.BitsStored, 2, use_mct=False)
        ds.PixelData = encapsulate([code])
        ds["PixelData"].VR = "OB"
    else:
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
    ds["PixelData"].is_undefined_length = syntax.is_encapsulated
    dcmwrite(path, ds, enforce_file_format=True)


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, with no negative zero."""
    return f"{value + 0.0:.6f}" if abs(value) >= 5e-7 else "0"
