"""The encoders and the two-tower model. `build_model` is the way in.

Initialised parameters carry logical axis names (flax `LogicallyPartitioned` boxes, listed in
`layers`); `flax.core.meta.unbox` strips them. Every encoder returns a dict with `last_hidden_state`
and `pooled`, owns its pooling, and sows its stages as the intermediates `hidden_states`.
"""

from lumbarclip_jax.models.lumbarclip import LumbarCLIP, build_model
from lumbarclip_jax.models.stacking import stack_layers, unstack_layers

__all__ = ["LumbarCLIP", "build_model", "stack_layers", "unstack_layers"]
