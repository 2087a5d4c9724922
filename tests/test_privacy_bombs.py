"""Bombs are refused in one sentence or reason, before they take memory."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests.bombs import BOMBS

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
LIMIT_BYTES = 200_000_000
# Each is refused in less than a second; a busy machine gets more.
GENEROUS_S = 8.0


@pytest.fixture(scope="module")
def reader():
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bombs"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def ask(kind: str, path: pathlib.Path) -> tuple[str, float, int]:
        process.stdin.write(json.dumps([kind, str(path)]) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.communicate()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb, reader, tmp_path):
    name, make, refusal = BOMBS[bomb]
    path = tmp_path / name
    make(path)
    said, took_s, peak_bytes = reader("pixels", path)
    assert refusal in said
    assert "\n" not in said
    assert took_s < GENEROUS_S
    assert peak_bytes < LIMIT_BYTES
    if name.endswith(".dcm"):
        _, took_s, peak_bytes = reader("header", path)
        assert took_s < GENEROUS_S
        assert peak_bytes < LIMIT_BYTES
