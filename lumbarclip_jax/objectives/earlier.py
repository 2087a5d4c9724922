"""Configs of the time when a run had one loss, `config.loss`, in the form they have now."""

import copy
from collections.abc import Mapping
from typing import Any

# Fields of `config.loss` that were soft CLIP's alone.
_OF_SOFT_CLIP = ("target_scale", "targets", "detach_targets", "hard_weight")


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with `objective` in place of `loss`; one that has it is returned as it is.

    Args:
      config: as a run folder or a program of any version holds it, in nested dicts.
    """
    config = copy.deepcopy(dict(config))
    loss = config.pop("loss", None)
    if loss is None or "objective" in config:
        return config
    # The first runs knew no other loss, and no groups.
    name = loss.get("name", "soft_clip")
    terms: dict[str, dict] = {each: {"weight": 0.0} for each in ("soft_clip", "clip", "siglip")}
    terms["soft_clip"] |= {field: loss[field] for field in _OF_SOFT_CLIP if field in loss}
    terms[name]["weight"] = 1.0
    shared = {
        "method": loss.get("method", "auto"),
        "group_reports": loss.get("group_reports", False),
    }
    config["objective"] = shared | {each: of | {"schedule": []} for each, of in terms.items()}
    return config
