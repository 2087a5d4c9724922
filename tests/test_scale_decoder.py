"""A file that breaks its decoder costs itself alone, and says how."""

import subprocess
import sys

import pytest

from data_prep.images import decoder
from data_prep.images.dicom import Rejected
from data_prep.images.pixels import Rendering
from data_prep.records.drops import Reason

RENDERING = Rendering(size_px=4)
GOOD = "a good file"  # three words: the brightness of its picture


@pytest.fixture
def breaking(monkeypatch):
    """A decoder in which files fail as their text says."""
    monkeypatch.setattr(
        decoder.Decoder, "command", (sys.executable, "-m", "tests.decoder_that_breaks")
    )
    made = decoder.Decoder()
    yield made
    made.close()


def outcomes(breaking, folder, texts) -> list:
    """The brightness of each picture, or (reason, detail)."""
    places = []
    for number, text in enumerate(texts):
        path = folder / f"{number}.txt"
        path.write_text(text)
        places.append(decoder.Place(path))
    return [
        (item.reason, item.detail) if isinstance(item, Rejected) else int(item.max())
        for item in breaking.render(places, RENDERING)
    ]


@pytest.mark.parametrize(
    ("failure", "reason", "detail"),
    [
        ("crash", Reason.DECODER_CRASHED, "SIGSEGV"),
        ("abort", Reason.DECODER_CRASHED, "SIGABRT"),
        ("exit", Reason.DECODER_CRASHED, "status 7"),
        ("panic", Reason.DECODER_CRASHED, "SystemExit"),
        ("deadly", Reason.DECODER_CRASHED, "SIGKILL"),
        ("hang", Reason.DECODER_TIMEOUT, ""),
        ("memory", Reason.DECODER_MEMORY, ""),
    ],
)
def test_a_failure_costs_one_file(breaking, tmp_path, failure, reason, detail):
    found = outcomes(breaking, tmp_path, [GOOD, failure, GOOD, GOOD])
    assert found == [3, (reason, detail), 3, 3]


def test_first_last_and_neighbouring_failures(breaking, tmp_path):
    found = outcomes(breaking, tmp_path, ["crash", "crash", GOOD, "exit", "memory", "abort"])
    assert [item if item == 3 else item[1] for item in found] == [
        "SIGSEGV",
        "SIGSEGV",
        3,
        "status 7",
        "",
        "SIGABRT",
    ]


def test_a_process_that_somebody_killed_is_no_fault_of_the_file(breaking, tmp_path):
    assert outcomes(breaking, tmp_path, [GOOD, "was killed", GOOD]) == [3, 2, 3]


def test_a_library_that_prints_does_no_harm(breaking, tmp_path):
    assert outcomes(breaking, tmp_path, [GOOD, "print", GOOD]) == [3, 1, 3]


def test_no_files_no_answers(breaking):
    assert list(breaking.render([], RENDERING)) == []


def test_a_process_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(decoder.Decoder, "command", (sys.executable, "-c", "print('hello')"))
    with pytest.raises(OSError, match="does not start: run `python"):
        decoder.Decoder()


def test_a_decoder_starts_quickly():
    code = (
        "import sys, data_prep.images.decoder;"
        "assert not {'tensorflow_datasets', 'scipy', 'absl', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_borrowed_decoder_is_lent_again():
    with decoder.borrowed() as first:
        pass
    with decoder.borrowed() as second, decoder.borrowed() as third:
        assert second is first
        assert third is not first


def test_an_interrupted_decoder_is_not_lent_again():
    def interrupt():
        with decoder.borrowed() as lent:
            interrupted.append(lent)
            raise KeyboardInterrupt

    interrupted = []
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with decoder.borrowed() as other:
        assert other is not interrupted[0]
