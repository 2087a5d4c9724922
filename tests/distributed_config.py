"""A run file whose model compiles in seconds, for tests that start processes."""

from configs import vit_linear


def get_config():
    config = vit_linear.get_config("quick")
    config.name = "distributed"
    config.total_steps = 20
    config.log_every_steps = 1
    config.data.update(global_batch_size=8, image_size_px=32, crop_px=32, max_tokens=12)
    smallest = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 32}
    config.model.embed_dim = 16
    config.model.image_encoder.sizes = {**smallest, "patch_size": 8}
    config.model.text_encoder.sizes = smallest
    # Ten times more, and rounding grows past 1e-5 within the 20 steps.
    config.optim.lr = 1e-4
    config.optim.warmup_steps = 2
    config.eval.update(every_steps=20, batch_size=8, bootstrap_resamples=20)
    config.checkpoint.every_steps = 8
    return config
