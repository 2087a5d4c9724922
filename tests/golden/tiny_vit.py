"""The config of the run that `make_earlier` leaves in `earlier/`: of a few thousand weights."""

from ml_collections import ConfigDict

from configs import vit_linear

SIZES = {"width": 8, "depth": 2, "heads": 2, "mlp_width": 16}


def get_config(arg: str | None = None) -> ConfigDict:
    config = vit_linear.get_config("quick")
    config.name = "tiny_vit"
    config.total_steps = 4
    config.data.update(global_batch_size=8, image_size_px=32, crop_px=32, max_tokens=12)
    with config.unlocked():
        config.model.image_encoder.sizes = SIZES | {"patch_size": 8}
        config.model.text_encoder.sizes = SIZES
    config.model.embed_dim = 8
    config.optim.warmup_steps = 1
    config.eval.update(every_steps=2, batch_size=16, bootstrap_resamples=50)
    config.checkpoint.update(every_steps=2, keep=1)
    config.log_every_steps = 1
    return config
