"""Cases that only a run of all tests takes: `pytest -m 'slow or not slow'`."""

from collections.abc import Iterable

import pytest


def but_first(cases: Iterable) -> list:
    """Cases of parametrize, all but the first of them marked slow."""
    first, *others = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [
        pytest.param(*first),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in others),
    ]
