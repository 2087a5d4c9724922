"""No planted identity is in anything that a build writes or says."""

import base64
import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow_datasets as tfds

from tests import privacy_canaries
from tests.privacy_canaries import Canaries

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# For the data manager alone, beside the data set and readable by its owner only: the secret, what
# the pseudonyms of dropped items stand for, and the split of each patient by the source's id.
PRIVATE_SUFFIXES = (".key", ".dropped.csv", ".splits.csv")


class Runs:
    """Runs the commands with a home and a temporary folder of their own; keeps what they say."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.said: dict[str, bytes] = {}
        for name in ("home", "tmp", "out"):
            (root / name).mkdir()

    def __call__(self, title: str, module: str, *arguments: str) -> int:
        environment = os.environ | {
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "XDG_CACHE_HOME": str(self.root / "home"),
        }
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
        )
        self.said[f"{title}: stdout"], self.said[f"{title}: stderr"] = result.stdout, result.stderr
        return result.returncode

    def outputs(self):
        """(name, bytes) of all that was written and said; names of files count as well."""
        yield from self.said.items()
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if not path.is_file() or path.relative_to(self.root).parts[0] == "input":
                continue
            yield f"name {name}", os.fsencode(name)
            if not name.endswith(PRIVATE_SUFFIXES):
                yield name, path.read_bytes()


@pytest.fixture(scope="module")
def canaries():
    return Canaries()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, canaries):
    """All the runs: builds that succeed, among damaged files, and commands that fail."""
    runs = Runs(tmp_path_factory.mktemp("canaries"))
    source = runs.root / "input"
    source.mkdir()
    said = privacy_canaries.write_archive(source / "archive", canaries)
    privacy_canaries.write_workbook(source / "reports.xlsx", said, canaries)
    word = canaries.word

    def build(title, out, *options, reports="reports.xlsx"):
        return runs(
            title, "data_prep.build", "--source=folder", f"--images={source / 'archive'}",
            f"--reports={source / reports}", f"--out={runs.root / 'out' / out}",
            "--splits=train=0.5,test=0.5", "--size_px=8", "--workers=2", *options,
        )  # fmt: skip

    columns = ("--accession_column=Accession", "--report_column=Report")
    assert build("build", "set", *columns) == 0, runs.said
    assert build("build again", "set", *columns, "--seed=3") == 2
    doubtful = ("--overwrite", "--keep_doubtful", "--verbosity=1")
    assert build("keep the doubtful", "set", *columns, *doubtful) == 0, runs.said
    published = source / "published"
    privacy_canaries.write_published_layout(published, source / "archive", canaries)
    status = runs(
        "published", "data_prep.build", f"--images={published}", "--size_px=8",
        f"--reports={published / 'reports.csv'}", f"--out={runs.root / 'out' / 'published'}",
        "--splits=test=1",
    )  # fmt: skip
    assert status == 0, runs.said
    assert build("wrong columns", "no", "--accession_column=Acc", "--report_column=Text") == 2
    assert build("no id equal", "no", "--patient_column=Report", "--report_column=Report") == 2

    # A table without a header row shows its first patient in place of the names of columns.
    (source / "bare.csv").write_text(f"{word('bare row')},{word('bare row')} text\n1,2\n")
    assert build("no header", "no", *columns, reports="bare.csv") == 2
    (source / "cut.xlsx").write_bytes((source / "reports.xlsx").read_bytes()[:-90])
    assert build("cut workbook", "no", *columns, reports="cut.xlsx") == 2
    (source / "findings.jsonl").write_text(f'{{"id": "{word("labels")}", "findings": 3}}\n')
    assert build("findings", "no", *columns, f"--findings={source / 'findings.jsonl'}") == 2
    (source / "splits.csv").write_text(
        f"patient,split\n{word('table of splits')},{word('split')}\n"
    )
    assert build("splits", "no", *columns, f"--split_file={source / 'splits.csv'}") == 2
    for module in ("verify", "audit"):
        status = runs(module, f"data_prep.{module}", str(runs.root / "out" / "set"))
        assert status == 0, runs.said
    return runs


def test_sixty_and_more_are_planted(canaries, runs):
    assert len(canaries.planted) >= 60
    assert len(set(canaries.planted.values())) >= 60


def test_none_is_found(canaries, runs):
    outputs = dict(runs.outputs())
    assert any(name.endswith("manifest.json") for name in outputs)
    assert any(".array_record-" in name for name in outputs)
    found = {
        name: sorted(canaries.planted[value] for value in canaries.found_in(content))
        for name, content in outputs.items()
    }
    assert {name: places for name, places in found.items() if places} == {}


def test_the_reports_are_there_without_persons(runs):
    data = runs.root / "out" / "set"
    reports = {
        record["report"].decode()
        for split in ("train", "test")
        for record in tfds.builder_from_directory(data).as_data_source(split)
    }
    assert len(reports) == privacy_canaries.PATIENTS
    for report in reports:
        assert "disc bulge of" in report
        assert "grade 2/4, power 3/5." in report
        assert "the case of [name] ([name]), number [name], asked for by [name]." in report


def test_private_files_are_their_owner_s(canaries, runs):
    private = [p for p in (runs.root / "out").iterdir() if p.name.endswith(PRIVATE_SUFFIXES)]
    assert len(private) >= 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)
    # The table of what was left out must be able to say where it was: the search finds that.
    assert canaries.found_in((runs.root / "out" / "set.dropped.csv").read_bytes())


@pytest.mark.parametrize("shift", range(3))
def test_the_search_finds_every_encoding(shift):
    canaries = Canaries()
    value = canaries.word("here")
    for encoding in ("utf-8", "utf-16le", "utf-16be", "latin-1"):
        encoded = b"x" * shift + value.encode(encoding) + b"y"
        assert canaries.found_in(encoded.upper() if encoding == "utf-8" else encoded) == {value}
        assert canaries.found_in(base64.b64encode(encoded)) == {value}
    assert not canaries.found_in(value[:-1].encode())
