"""What makes another objective of a run that goes on, and what does not."""

import pytest

from lumbarclip_jax.run_folder import config_changes


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({}, {"schedule": [[0.0, 1.0]]}, ["objective.clip.schedule=[], not [[0.0, 1.0]]"]),
        ({}, {"group_reports": False}, ["objective.clip.group_reports=True, not False"]),
        ({"group_reports": True}, {}, []),  # as all have it
        ({"method": "ring"}, {"method": "dense"}, ["objective.clip.method='ring', not 'dense'"]),
        ({"weight": 0.0}, {"weight": 0.0, "schedule": [[0.0, 1.0]]}, []),
        ({"weight": 2.0}, {"weight": 0.0}, ["objective.clip.weight=2.0, not 0.0"]),
        ({}, None, ["objective.clip.weight=1.0, not 0.0"]),
    ],
)
def test_settings_that_a_term_leaves_out_are_compared(before, now, told):
    def config(clip):
        terms = {} if clip is None else {"clip": {"weight": 1.0} | clip}
        return {"objective": {"method": "auto", "group_reports": True} | terms}

    found = config_changes.changes(config(before), config(now))
    assert [str(change) for change in found] == told


def test_a_setting_that_has_its_default_is_no_change():
    stated = {"weight": 1.0, "hard_weight": 0.9, "target_scale": 10.0, "schedule": []}
    short, whole = ({"objective": {"soft_clip": of}} for of in ({"weight": 1.0}, stated))
    assert config_changes.changes(short, whole) == []
    other = {"objective": {"soft_clip": stated | {"hard_weight": 0.5}}}
    (change,) = config_changes.changes(short, other)
    assert str(change) == "objective.soft_clip.hard_weight=0.9, not 0.5"
