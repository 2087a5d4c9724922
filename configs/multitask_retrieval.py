"""ViT-B/16 + BERT-base with MLP heads: contrast, supervised contrast and classification at once.

python -m lumbarclip_jax.main --config=configs/multitask_retrieval.py --config.data.dir=DIR
python -m lumbarclip_jax.main --config=configs/multitask_retrieval.py:quick

After multi-task cross-modal retrieval (arXiv 2601.05399), whose loss adds binary cross-entropy of
normal and abnormal and supervised contrast to CLIP's, on BiomedCLIP with a light MLP projector. No
code, weight or temperature is public: the sum below is our reading, and a disc is abnormal here
where the report states its displacement. Its encoders are slow to change where they are published
ones: --config.optim.lr_multipliers='((".*_encoder/.*", 0.1),)'.
"""

from configs import base

TASK = "disc_displacement"


def get_config(size: str = "full"):
    config = base.get_config()
    config.name = "multitask_retrieval"
    config.model.image_encoder.update(name="vit", variant="B/16")
    config.model.projection.kind = "mlp"
    config.objective.soft_clip.weight = 0.0
    config.objective.clip.weight = 1.0
    config.objective.sup_con.update(weight=1.0, task=TASK)
    config.objective.labels.update(weight=1.0, tasks=(TASK,))
    config.eval.at_the_end = ("retrieval", "zero_shot", "label_heads", "linear_probe")
    base.resize(config, size)
    if size == "quick":
        config.model.image_encoder.variant = "XS/8"
    return config
