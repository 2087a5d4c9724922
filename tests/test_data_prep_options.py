"""The options of a build: the flags of the command and the keywords of `build` are the same."""

import dataclasses
import pathlib

import pytest
from absl import flags

from data_prep.build import build, options
from data_prep.build.options import Options
from data_prep.records.scan import Columns


def given(*arguments: str) -> dict[str, object]:
    values = flags.FlagValues()
    options.define_flags(values)
    values(["build", *arguments])
    return options.given(values)


def test_the_command_and_the_function_have_the_same_options_and_defaults():
    said = given()
    assert said.keys() == {field.name for field in dataclasses.fields(Options)}
    assert Options(**said | {"workers": 1}) == Options()


def test_a_flag_says_what_the_keyword_says():
    said = given(
        "--source=folder", "--grades=g.csv", "--findings=f.jsonl", "--nolabel_reports",
        "--patient_column=MRN", "--level_column=Disc", "--splits=test=1.0", "--seed=7",
        "--spacing_mm=0.5", "--workers=3",
    )  # fmt: skip
    assert Options(**said) == Options(
        source="folder",
        grades_file=pathlib.Path("g.csv"),
        findings_file=pathlib.Path("f.jsonl"),
        label_reports=False,
        columns=Columns(patient="MRN", level="Disc"),
        split_shares="test=1.0",
        seed=7,
        spacing_mm=0.5,
        workers=3,
    )


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], False),
        (["--keep_doubtful"], True),
        (["--nokeep_doubtful"], False),
        (["--nokeep_nothing_doubtful"], True),
        (["--keep_nothing_doubtful"], False),
        (["--keep_nothing_doubtful=false"], True),
        (["--keep_doubtful", "--nokeep_nothing_doubtful"], True),
        (["--nokeep_doubtful", "--keep_nothing_doubtful"], False),
    ],
)
def test_the_old_spelling_still_works(arguments, kept):
    assert given(*arguments)["keep_doubtful"] is kept


@pytest.mark.parametrize(
    "arguments",
    [
        ["--keep_doubtful", "--keep_nothing_doubtful"],
        ["--nokeep_nothing_doubtful", "--nokeep_doubtful"],
    ],
)
def test_the_spellings_may_not_contradict_each_other(arguments):
    with pytest.raises(ValueError, match=r"contradict each other: leave out the old one"):
        given(*arguments)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"size_px": 0}, "--size_px is 0: choose a number from 1 to 2048"),
        ({"workers": 257}, "--workers is 257: choose a number from 1 to 256"),
        ({"source": "folders"}, "--source is 'folders': choose one of folder, mendeley, phantom"),
        ({"window": ""}, "--window is '': choose one of full, percentile, file"),
    ],
)
def test_a_value_out_of_bounds_is_refused_before_anything_is_read(asked, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        build(tmp_path / "nowhere", None, tmp_path / "set", **asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["convert", "commit"])
def test_a_later_stage_is_no_build(stage, tmp_path):
    with pytest.raises(ValueError, match=f"stage '{stage}' works on a plan that is there"):
        build(tmp_path, None, tmp_path / "out", stage=stage)
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_all_cores_but_no_more_than_may_be(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 384)
    assert options.all_cores() == options.MAX_WORKERS == 256


def test_an_option_that_there_is_not(tmp_path):
    with pytest.raises(TypeError, match="keep_nothing_doubtful"):
        build(tmp_path, None, tmp_path / "set", keep_nothing_doubtful=True)
