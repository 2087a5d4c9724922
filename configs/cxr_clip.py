"""What the runs after CXR-CLIP (arXiv 2310.13292) share: two images and two texts of every study.

The paper's, by its public code: the loss (CLIP over all pairings, 1.0 among the images, 0.5 among
the texts, no label smoothing, one temperature that nothing limits), the text's last token, linear
heads of 512, AdamW at 5e-5 with weight decay 1e-4, one warm-up epoch and a cosine over 15, batches
of 128 and no limit of the gradient.

Chosen here: the second image of a lumbar study is another slice of its disc, the disc in the other
sequence or another disc, where theirs is another projection of the chest, so that texts name no
disc of their image; a second text is another excerpt with synonyms, where theirs is a section or
its back translation; images are not equalised. Weights are new; theirs began from ImageNet's and
Bio_ClinicalBERT's (--config.model.image_encoder.pretrained=..., ...text_encoder.pretrained=...).
"""

from configs import base

SLICES = 289 * 3  # that the public lumbar slices have for training
EPOCHS = 15


def base_config(name: str, encoder: str, variant: str, size: str):
    """A run of an image encoder."""
    config = base.get_config()
    config.name = name
    data, model, optim, objective = config.data, config.model, config.optim, config.objective
    data.global_batch_size = 128
    data.max_tokens = 256
    data.image_views = 2
    data.other_images = ("neighbour", "sequence", "level")
    data.level_prefix = False
    data.text_views = 2
    data.perturb.synonyms = 0.3
    data.augment.update(brightness=0.1, contrast=0.2)

    model.image_encoder.update(name=encoder, variant=variant, pooling="mean")
    model.text_encoder.pooling = "last"
    model.logit_scale_max = 20.0

    objective.soft_clip.weight = 0.0
    objective.clip.weight = 1.0
    objective.icl.weight = 1.0
    objective.tcl.weight = 0.5

    steps_an_epoch = SLICES // data.global_batch_size
    config.total_steps = EPOCHS * steps_an_epoch
    optim.lr = 5e-5
    optim.weight_decay = 1e-4
    optim.warmup_steps = steps_an_epoch
    optim.b2 = 0.999  # AdamW's own default
    optim.clip_norm = 0.0
    config.eval.every_steps = 5 * steps_an_epoch
    base.resize(config, size)
    if size == "quick":
        data.global_batch_size = 32
        model.image_encoder.variant = "XS"
    return config
