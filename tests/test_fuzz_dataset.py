"""Whatever was damaged in a data set is found before the first step, in one sentence."""

from tests.fuzz_dataset import fuzz


def test_eighty_damages():
    summary = fuzz(damages=80, seed=1)
    assert summary["failures"] == []
    assert summary["outcomes"] == {"found": 80}
    assert len(summary["kinds"]) >= 20
