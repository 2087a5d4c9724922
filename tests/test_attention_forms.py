"""A run goes on with the forms of attention that it began with; forms and device are made up."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

from lumbarclip_jax import train
from lumbarclip_jax.models.attention import choice, xla
from lumbarclip_jax.run_folder import attention_forms
from tests.golden import tiny_vit

QUERY = jnp.zeros((8, 2, 9, 4), jnp.bfloat16)


def other(query, key, value, bias=None, kept=None, keep_rate=1.0):
    return xla.attend_by_rows(query, key, value, bias, kept, keep_rate)


class Trials:
    """Trials as on a GPU, whose winner the test sets."""

    def __init__(self, monkeypatch):
        self.winner, self.count = "other", 0
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(choice, "trial", self)
        monkeypatch.setattr(choice, "CANDIDATES", {"other": other})
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        self.begin_process()

    def __call__(self, named, forms, inputs) -> str:
        self.count += 1
        return self.winner

    def begin_process(self) -> None:
        """Forgets what was chosen, as a new process does."""
        self._monkeypatch.setattr(choice, "_winners", {})


@pytest.fixture
def trials(monkeypatch) -> Trials:
    return Trials(monkeypatch)


@pytest.fixture
def kept(trials, tmp_path):
    """The file of a run in which "other" won; a new process, in which XLA's form would."""
    assert ask() is other
    attention_forms.keep(tmp_path)
    trials.winner = "XLA"
    trials.begin_process()
    return tmp_path / attention_forms.FILE


def ask():
    return choice.fastest(QUERY, None, None, 1.0, xla.attend_by_rows)


def resume(kept):
    attention_forms.adopt(kept.parent, is_resumed=True)
    return ask()


def test_a_new_process_takes_what_was_kept(trials, kept, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    assert resume(kept) is other
    assert trials.count == 1
    assert not caplog.records
    before = kept.stat().st_mtime_ns
    attention_forms.keep(kept.parent)
    assert kept.stat().st_mtime_ns == before  # written once
    wider = jnp.zeros((8, 2, 9, 8), jnp.bfloat16)
    assert choice.fastest(wider, None, None, 1.0, xla.attend_by_rows) is xla.attend_by_rows
    attention_forms.keep(kept.parent)
    assert sorted(json.loads(kept.read_text())["forms"].values()) == ["XLA", "other"]


@pytest.mark.parametrize("what", ["platform", "kind", "jax"])
def test_on_another_kind_of_device_it_is_chosen_anew(trials, kept, what, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    content = json.loads(kept.read_text())
    content["device"][what] = "another"
    kept.write_text(json.dumps(content))
    assert resume(kept) is xla.attend_by_rows
    assert f"{what} another" in caplog.text
    assert f"kind {jax.devices()[0].device_kind}" in caplog.text
    assert "forms of attention are chosen anew" in caplog.text
    attention_forms.keep(kept.parent)
    assert set(json.loads(kept.read_text())["forms"].values()) == {"XLA"}


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"device": 3, "forms": {}}', '{"device": {}, "forms": {"x": []}}']
)
def test_a_damaged_file_is_chosen_anew(kept, content, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    kept.write_text(content)
    assert resume(kept) is xla.attend_by_rows
    assert f"{kept} is damaged: forms of attention are chosen anew" in caplog.text


def test_a_missing_file_is_said_only_of_a_run_that_goes_on(kept, caplog):
    caplog.set_level("INFO", "lumbarclip_jax")
    kept.unlink()
    attention_forms.adopt(kept.parent, is_resumed=False)
    assert not caplog.records
    assert resume(kept) is xla.attend_by_rows
    assert f"{kept} is missing: forms of attention are chosen anew" in caplog.text


def test_a_form_that_is_no_more_is_tried_again(kept):
    kept.write_text(kept.read_text().replace('"other"', '"a kernel that went"'))
    assert resume(kept) is xla.attend_by_rows


def test_nothing_is_kept_without_a_gpu(trials, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    attention_forms.keep(tmp_path)
    attention_forms.adopt(tmp_path, is_resumed=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("own", [None, '{"device": {}, "forms": {}}'])
def test_all_processes_take_what_process_0_finds(trials, kept, own, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def broadcast(value):
        if jax.process_index() == 0:
            sent.append(np.array(value))
            return sent[-1]
        received = sent.pop(0)
        assert np.shape(value) == received.shape
        return received

    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", broadcast)
    assert resume(kept) is other
    assert len(sent) == 2
    trials.begin_process()
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    there = tmp_path / "there" / attention_forms.FILE
    there.parent.mkdir()
    if own:
        there.write_text(own)
    assert resume(there) is other
    attention_forms.keep(there.parent)
    assert there.is_file() == bool(own)
    assert trials.count == 1


@pytest.mark.slow
def test_training_keeps_and_adopts(trials, tiny_dataset, tmp_path):
    """All that a checkpoint came of, also where a later step met another length of reports."""

    def train_to(steps: int) -> dict:
        trials.begin_process()
        config = tiny_vit.get_config()
        config.dtype = "bfloat16"
        config.total_steps = steps
        config.data.update(token_buckets=(16,), max_tokens=24, one_level_a_batch=False)
        config.data.dir = str(tiny_dataset)
        config.eval.update(every_steps=0, at_the_end=("retrieval",))
        train.train_and_evaluate(config, tmp_path / "run")
        return json.loads((tmp_path / "run" / attention_forms.FILE).read_text())["forms"]

    begun = train_to(8)
    assert len(begun) == 3, begun  # of pictures, and of texts in two buckets
    assert set(begun.values()) == {"other"}
    trials.winner = "XLA"
    assert train_to(10) == begun
