"""Left, front and head of a stored picture are where they belong, whatever way the file has it."""

import itertools

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from data_prep.images import geometry, pixels
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.pixels import Rendering
from tests import dicom_syntaxes
from tests.data_prep_cohort import slice_dataset
from tests.enhanced_files import enhanced

# Of the patient's axes: to the left, to the back, to the head.
SIZE = np.array([14, 10, 8])
SPACING_MM = np.array([0.5, 1.0, 2.0])
BODY = np.random.default_rng(0).integers(0, 4096, SIZE).astype(np.uint16)
AXES = [sign * axis for axis in np.eye(3, dtype=int) for sign in (1, -1)]
ORIENTATIONS = [
    (row, column) for row, column in itertools.product(AXES, AXES) if not abs(row) @ abs(column)
]


def saved(tmp_path, along_row, along_column):
    """The middle slice of the body, with the columns and rows of the file along these axes."""
    row, column = (int(np.abs(axis).argmax()) for axis in (along_row, along_column))
    (normal,) = {0, 1, 2} - {row, column}
    array = np.moveaxis(BODY, (column, row, normal), (0, 1, 2))[..., SIZE[normal] // 2]
    array = array[:: along_column[column], :: along_row[row]]
    dataset = slice_dataset([0, 0, 0], array, orientation=[*along_row, *along_column])
    dataset.PixelSpacing = [SPACING_MM[column], SPACING_MM[row]]
    dicom_syntaxes.set_pixels(dataset, np.ascontiguousarray(array), ExplicitVRLittleEndian)
    dicom_syntaxes.save(dataset, tmp_path / "slice.dcm")
    return tmp_path / "slice.dcm"


def expected_greys(normal: int) -> np.ndarray:
    """The middle slice as radiologists look at it: BODY's axes, spelt out."""
    middle = SIZE[normal] // 2
    image = {
        0: BODY[middle].T[::-1],  # head up, front on the left
        1: BODY[:, middle].T[::-1],  # head up, the patient's left on the right
        2: BODY[:, :, middle].T,  # front up, the patient's left on the right
    }[normal]
    return pixels.to_8_bit(image.astype(np.float32), float(image.min()), float(image.max()))


@pytest.mark.parametrize(("along_row", "along_column"), ORIENTATIONS)
def test_every_way_to_file_a_slice_gives_the_same_picture(along_row, along_column, tmp_path):
    path = saved(tmp_path, along_row, along_column)
    found = read_pixels(path)
    turned = found.upright(found.values)
    normal = int(np.abs(np.cross(along_row, along_column)).argmax())
    greys = pixels.to_8_bit(turned, float(turned.min()), float(turned.max()))
    np.testing.assert_array_equal(greys, expected_greys(normal))
    rows, columns = ((2, 1), (2, 0), (1, 0))[normal]
    spacing_mm = found.upright.spacing_mm(found.spacing_mm)
    assert spacing_mm == (SPACING_MM[rows], SPACING_MM[columns])
    upright = saved(tmp_path, *geometry.UPRIGHT[geometry.VIEWS[normal]])
    usual = pixels.render(upright, Rendering(15))
    np.testing.assert_array_equal(
        pixels.render(saved(tmp_path, along_row, along_column), Rendering(15)), usual
    )


@pytest.mark.parametrize("degrees", range(0, 360, 15))
@pytest.mark.parametrize("tilt_degrees", [-40, 0, 25])
def test_oblique_slices_turn_to_the_nearest(degrees, tilt_degrees):
    angle, tilt = np.radians([degrees, tilt_degrees])
    flat = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]]
    )
    along = flat @ about_x
    turn = geometry.upright(along)
    # What the turn makes of the directions: reversing an index turns its direction round.
    along_row, along_column = along[::-1] if turn.transposed else along
    along_row = along_row * (-1 if turn.columns_reversed else 1)
    along_column = along_column * (-1 if turn.rows_reversed else 1)
    assert along_row[0] > 0.7 * np.cos(tilt)
    assert along_column[1] > 0.7 * np.cos(tilt)
    # A turned picture is no mirrored one.
    assert np.cross(along_row, along_column)[2] > 0


def test_mirrored_slices_are_mirrored_back():
    turn = geometry.upright(np.array([[-1.0, 0, 0], [0, 1, 0]]))
    assert turn == geometry.Turn(columns_reversed=True)
    assert turn(np.array([[1, 2], [3, 4]])).tolist() == [[2, 1], [4, 3]]


def test_a_frame_has_its_own_orientation(tmp_path):
    path, array = enhanced(tmp_path, orientations={1: [0, 1, 0, 1, 0, 0]})
    for frame, expected in ((0, array[0]), (1, array[1].T * 2 + 1)):
        found = read_pixels(path, frame)
        np.testing.assert_array_equal(found.upright(found.values), expected)
    assert found.upright.spacing_mm(found.spacing_mm) == (0.5, 1.5)


@pytest.mark.parametrize("orientation", [None, [1, 0, 1, 0, 1, 0], [0] * 6])
def test_a_file_that_does_not_say_how_it_lies_is_taken_as_it_lies(orientation, tmp_path):
    path = dicom_syntaxes.saved(
        tmp_path,
        np.ascontiguousarray(BODY[:, :, 3]),
        ExplicitVRLittleEndian,
        ImageOrientationPatient=orientation,
    )
    assert read_pixels(path).upright == geometry.AS_IT_LIES
