"""A command that waits says for what."""

import logging
import time

import pytest

from lumbarclip_jax.process import activity


@pytest.fixture(autouse=True)
def nothing_before():
    activity.now("")
    yield
    activity.now("")


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == activity.log.name]


def wait_for_lines(caplog, count: int) -> None:
    until = time.monotonic() + 20
    while len(said(caplog)) < count:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_long_silence_is_ended_again_and_again(caplog):
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    with activity.told(silence_s=0.1):
        activity.now("measuring retrieval")
        wait_for_lines(caplog, 3)
    assert set(said(caplog)) == {"measuring retrieval: 0 s so far"}


def test_nothing_is_said_when_nothing_goes_on_or_once_it_has_ended(caplog):
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    with activity.told(silence_s=0.05):
        time.sleep(0.3)
        assert said(caplog) == []
        activity.now("drawing")
        wait_for_lines(caplog, 1)
    lines = len(said(caplog))
    time.sleep(0.3)
    assert len(said(caplog)) == lines


def test_other_lines_break_the_silence(caplog):
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    other = logging.getLogger("lumbarclip_jax.train")
    with activity.told(silence_s=5):
        activity.now("training")
        for step in range(20):
            other.info("step %d", step)
            time.sleep(0.01)
    assert said(caplog) == []
