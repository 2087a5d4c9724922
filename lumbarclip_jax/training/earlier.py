"""Configs of earlier versions in the form that they have now."""

import json
from collections.abc import Mapping
from typing import Any

# Fields that the first runs did not know, with the default that stands for them.
LATER = {
    "data.resplit": "",
    "data.dirs": [],
    "data.one_data_set_a_batch": True,
    "data.lowercase": True,
    "data.token_buckets": [],
    "data.one_level_a_batch": True,
    "data.keep_sentence": 0.7,
    "data.image_views": 1,
    "data.other_images": ["same"],
    "data.text_views": 1,
    "data.further_texts": True,
    "data.redraw_text": True,
    "data.perturb.synonyms": 0.0,
    "data.perturb.swap": 0.0,
    "data.perturb.delete": 0.0,
    "data.perturb.one_of": False,
    "data.perturb.protect": True,
    "data.perturb.first": False,
    "data.perturb.table": "",
    "data.prompts.tasks": [],
    "data.prompts.share": 0.0,
    "data.prompts.table": "",
    "data.augment.scale_up": None,
    "data.augment.rotate_deg": 0.0,
    "data.augment.brightness": 0.0,
    "data.augment.contrast": 0.0,
    "model.pretrained": "",
    "model.feature_dim": 0,
    "model.image_encoder.pretrained": "",
    "model.image_encoder.sizes": None,
    "model.text_encoder.pool_layers": [],
    "model.text_encoder.pretrained": "",
    "model.text_encoder.sizes": None,
    "model.projection.text_kind": "",
    "model.heads.tasks": [],
    "model.study_pooling": "",
    "model.heads.cosine_scale": None,
    "model.lora.rank": 0,
    "model.lora.alpha": 16.0,
    "model.lora.paths": [".*_encoder/.*/(attention|mlp)/.*/kernel"],
    "optim.ema_decay": 0.0,
    "eval.averaged": True,
    "eval.choose_by": "",
    "eval.patience": 0,
    "eval.unit": "auto",
}

# Fields of `config.loss` that were soft CLIP's alone.
_OF_SOFT_CLIP = ("target_scale", "targets", "detach_targets", "hard_weight")


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON gives it back, with the fields that it was too early for.

    `config.loss`, the one loss that runs once had, is a term of its objective.
    """
    whole: dict = json.loads(json.dumps(config))
    if "loss" in whole and "objective" not in whole:
        whole["objective"] = _objective(whole.pop("loss"))
    for field, default in LATER.items():
        *groups, name = field.split(".")
        group = whole
        for part in groups:
            group = group.setdefault(part, {})
        group.setdefault(name, default)
    return whole


def _objective(loss: Mapping[str, Any]) -> dict[str, Any]:
    # The first runs knew no other loss, and no groups.
    name = loss.get("name", "soft_clip")
    terms: dict[str, dict] = {each: {"weight": 0.0} for each in ("soft_clip", "clip", "siglip")}
    terms["soft_clip"] |= {field: loss[field] for field in _OF_SOFT_CLIP if field in loss}
    terms[name]["weight"] = 1.0
    shared = {
        "method": loss.get("method", "auto"),
        "group_reports": loss.get("group_reports", False),
    }
    return shared | {each: of | {"schedule": []} for each, of in terms.items()}
