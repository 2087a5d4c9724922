"""The PyTorch baseline trains as the JAX step does: the same losses, the same updates."""

import numpy as np
import pytest

from configs import resnet_mlp, swin_linear, vit_linear
from lumbarclip_jax.bench.compare.options import EXACT_LR_SHARE, Options, prepared
from tests import slow

pytest.importorskip("torch")
pytest.importorskip("transformers")

from lumbarclip_jax.bench.compare.jax_side import JaxSide
from lumbarclip_jax.bench.compare.torch_side import TorchSide

VIT = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64, "patch_size": 8}
# Maps of 8 x 8 and 4 x 4 patches: shifted windows, a merge, and one window alone.
SWIN = {"width": 16, "stage_depths": [2, 1], "stage_heads": [1, 2], "window": 4}
RESNET = {"stem_width": 8, "stage_widths": [16, 32], "stage_depths": [1, 1]}
BERT = {"width": 32, "depth": 1, "heads": 2, "mlp_width": 64}
CONFIGS = {
    "vit": (vit_linear, VIT, {"text_pooling": "cls", "scan_layers": True}),
    "swin": (swin_linear, SWIN, {"text_pooling": "mean", "scan_layers": False}),
    "resnet": (resnet_mlp, RESNET, {"text_pooling": "last", "scan_layers": False}),
}
OPTIONS = Options(batch_size=8, vocab_size=50, stored_size_px=48)
STEPS = 6


def tiny_config(name: str):
    run_file, sizes, model = CONFIGS[name]
    config = run_file.get_config("quick")
    config.data.update(image_size_px=32, crop_px=40, max_tokens=12)
    config.model.embed_dim = 16
    config.model.image_encoder.sizes = sizes
    config.model.text_encoder.update(sizes=BERT, pooling=model["text_pooling"])
    config.model.scan_layers = model["scan_layers"]
    # Each of them changes the updates by more than the test allows.
    config.optim.update(lr=1e-4 / EXACT_LR_SHARE, warmup_steps=2, clip_norm=0.1, weight_decay=10.0)
    config.total_steps = 8
    config.objective.soft_clip.hard_weight = 0.5
    return prepared(config, OPTIONS)


@pytest.mark.parametrize("name", slow.but_first(CONFIGS))
def test_both_follow_the_same_losses_and_reach_the_same_weights(name, tmp_path):
    config = tiny_config(name)
    ours, theirs = JaxSide(config, OPTIONS), TorchSide(config, OPTIONS)
    (tmp_path / "start").mkdir()
    for side in (ours, theirs):
        side.create(tmp_path / "start")
    start = weights(theirs)
    ours.compile()

    ours_losses, theirs_losses = ours.take(0, STEPS)[1], theirs.take(0, STEPS)[1]
    np.testing.assert_allclose(ours_losses, theirs_losses, rtol=1e-5)
    assert len(set(ours_losses)) == STEPS

    # The weights the JAX side reached, as the baseline reads them.
    (tmp_path / "end").mkdir()
    ours.export(tmp_path / "end")
    moved = weights(theirs)
    theirs.create(tmp_path / "end")
    for key, expected in weights(theirs).items():
        change = np.linalg.norm(expected - start[key])
        error = np.linalg.norm(moved[key] - expected)
        assert error <= 0.02 * change + 1e-6 * np.linalg.norm(expected), (key, error, change)
    changed = [key for key in start if not np.array_equal(moved[key], start[key])]
    assert len(changed) > 0.9 * len(start)


def weights(side) -> dict[str, np.ndarray]:
    tensors = side.trainer.model.state_dict()
    return {
        # Adam moves a parameter without a gradient by the sign of rounding: keys of attention.
        key: tensor.numpy().copy()
        for key, tensor in tensors.items()
        if tensor.is_floating_point() and not key.endswith(("key.bias", "k_proj.bias"))
    }


def test_the_encoders_use_scaled_dot_product_attention(tmp_path):
    config = tiny_config("vit")
    JaxSide(config, OPTIONS).create(tmp_path)
    side = TorchSide(config, OPTIONS)
    side.create(tmp_path)
    model = side.trainer.model
    assert model.image_encoder.config._attn_implementation == "sdpa"
    assert model.text_encoder.config._attn_implementation == "sdpa"
    decayed = side.trainer.optimizer.param_groups[0]["params"]
    # Six linear layers a block, the patches, and a head a tower.
    assert len(decayed) == 6 * 3 + 1 + 2
