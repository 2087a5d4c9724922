"""Names of numbers and answers, read and written back."""

import pytest

from lumbarclip_jax.evaluators.names import BESIDE, Name, is_beside, path_part

NUMBERS = {
    "test/retrieval/images": Name("test", "retrieval", (), "images"),
    "test/retrieval/image_to_text_recall_at_5": Name(
        "test", "retrieval", ("image_to_text",), "recall_at_5"
    ),
    "test/robustness/noise/severity_2/text_to_patient_mrr": Name(
        "test", "robustness", ("noise", "severity_2", "text_to_patient"), "mrr"
    ),
    "validation/linear_probe/compression/image_features/by_patient/auroc": Name(
        "validation",
        "linear_probe",
        ("compression", "image_features", "by_patient"),
        "auroc",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_read_and_written_back(name):
    assert Name.of_number(name) == NUMBERS[name]
    assert str(NUMBERS[name]) == name


@pytest.mark.parametrize("name", ["loss", "trained_steps", "test/speed"])
def test_what_no_evaluator_measured_has_no_name(name):
    assert Name.of_number(name) is None


def test_answers_are_what_a_number_was_made_of():
    number = Name.of_number("test/linear_probe/compression/image_features/auroc")
    assert number.answers == "test/linear_probe/compression/image_features"
    assert str(Name.of_answers(number.answers)) == number.answers
    assert (number.task, number.features) == ("compression", ("image_features",))
    ranks = Name.of_number("test/retrieval/image_to_text_recall_at_5")
    assert (ranks.answers, ranks.task) == ("test/retrieval/image_to_text", "image_to_text")


def test_a_class_is_one_part_of_a_path():
    name = f"test/class_retrieval/site/{path_part('L4 / L5')}/image_to_text_precision_at_5"
    assert Name.of_number(name) == Name(
        "test", "class_retrieval", ("site", "L4_L5", "image_to_text"), "precision_at_5"
    )


def test_what_stands_beside_a_number_is_known_by_its_end():
    assert all(is_beside(f"test/zero_shot/compression/auroc{end}") for end in BESIDE)
    assert not any(map(is_beside, NUMBERS))
