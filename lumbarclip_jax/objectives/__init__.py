"""What a run trains: an objective is a sum of weighted terms, one file a term.

Here are the terms there are, by the names that configs call them, `config.objective.<term>`:
reading names does not start JAX. `term` says what a term is, and `objective` adds them up as a
config states. docs/objectives.md shows how to add one.
"""

import importlib
from typing import Any

# A line a term: the module, and its class.
TERMS = {
    "soft_clip": "lumbarclip_jax.objectives.soft_clip:SoftClip",
    "clip": "lumbarclip_jax.objectives.clip:Clip",
    "siglip": "lumbarclip_jax.objectives.siglip:SigLip",
    "icl": "lumbarclip_jax.objectives.icl:Icl",
    "tcl": "lumbarclip_jax.objectives.tcl:Tcl",
    "sup_con": "lumbarclip_jax.objectives.sup_con:SupCon",
    "labels": "lumbarclip_jax.objectives.labels:Labels",
}
# Of every term in a config, beside its own settings.
WEIGHT, SCHEDULE = "weight", "schedule"
COUNTS = "counts"  # a field of a term that is no setting, see `term.Term`


def term_class(name: str) -> type:
    """The class of a term, see `term.Term`.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in TERMS:
        raise ValueError(f"objective.{name}: there is no such term, only {', '.join(TERMS)}")
    module, _, called = TERMS[name].partition(":")
    return getattr(importlib.import_module(module), called)


def computed(objective: Any) -> dict[str, Any]:
    """The settings of the terms in `config.objective` whose weight is not 0, by name."""
    return {name: of for name, of in objective.items() if is_term(of) and of.get(WEIGHT, 0.0) != 0}


def is_term(value: Any) -> bool:
    """Whether a value in `config.objective` is the settings of a term, not one that all share."""
    return hasattr(value, "items")  # of a ConfigDict, which is no Mapping
