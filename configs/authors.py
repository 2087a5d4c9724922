"""What the runs after the LumbarCLIP authors' public code share: their settings as fields of ours.

The code is a snapshot and not the paper: github.com/lethanhbinhxq/Lumbar-MedCLIP at 855faca. Theirs
are the encoders, the 512 features before the heads, the kinds of heads, the pooling of texts, 77
tokens, one sentence a text and a perturbed second one, targets by the label of low back pain, batch
20, 20 epochs, AdamW at 2e-5 with weight decay 1e-4, a warm-up of a tenth and a cosine, gradient
norm 1, seed 42, the temperature and its limits, mirroring, and the ranges of the augmentation.

Chosen here: a sentence has the label of its patient, where theirs looks it up in a table and takes
what is not there for No Finding; how often words are perturbed; both heads give 1,024 features, as
E is one width; each image is standardised by itself, where theirs share a mean and deviation; token
tables do not decay; brightness comes before contrast, where theirs draw the order; the last step is
used, where theirs choose by validation.

Weights are new. Theirs began from ImageNet's and Bio_ClinicalBERT: start from such by
--config.model.image_encoder.pretrained=... and --config.model.text_encoder.pretrained=...
"""

from configs import base

SLICES = 284 * 3  # of their training patients whom the public T1 slices show, three each
EPOCHS = 20


def base_config(name: str, encoder: str, variant: str, head: str, size: str):
    """A run of an image encoder and its head, `linear` or `relu`; the head of texts is linear."""
    config = base.get_config()
    config.name = name
    config.seed = 42
    data, model, optim = config.data, config.model, config.optim
    data.global_batch_size = 20  # 128 in their notebooks
    data.crop_px = 280  # 224 of 256 of the slice's 320
    data.max_tokens = 77
    data.level_prefix = False
    data.one_level_a_batch = False
    data.keep_sentence = 0.0  # a single one, drawn anew for each step
    # A second text is the first after one of three perturbations, which strike any word: a "no",
    # too. --config.data.perturb.protect=True leaves negations, sides, levels and findings alone.
    data.text_views = 2
    data.redraw_text = False
    data.perturb.update(synonyms=0.1, swap=0.1, delete=0.1, one_of=True, protect=False)
    # A shift of 1/16 of the slice, then a random cut that moves by as much again: both together
    # have the standard deviation of 0.1 of the cut's side.
    data.augment.update(scale=0.2, scale_up=0.1, translate=0.1, rotate_deg=10.0)
    data.augment.update(brightness=0.2, contrast=0.2, gamma=0.0, noise=0.0)
    # As they do, with probability 0.5. Off in the other run files, as reports name sides:
    # --config.data.augment.mirror=False.
    data.augment.mirror = True

    model.feature_dim = 512
    model.embed_dim = 1024
    model.image_encoder.update(name=encoder, variant=variant, pooling="mean")
    model.text_encoder.update(pooling="mean_with_padding", pool_layers=(1, 2, -1))
    model.projection.update(kind=head, text_kind="linear")

    # Targets from the label alone, at temperature 1: no pair is a positive for being one.
    config.objective.group_reports = False
    config.objective.soft_clip.update(target_scale=1.0, hard_weight=0.0)
    config.objective.soft_clip.likeness = (("classes", ("lbp",), 1.0),)

    config.total_steps = EPOCHS * SLICES // data.global_batch_size
    optim.lr = 2e-5
    optim.weight_decay = 1e-4
    optim.warmup_steps = config.total_steps // 10
    optim.b2 = 0.999  # AdamW's own default
    config.eval.at_the_end = ("retrieval", "zero_shot", "zero_shot_features", "linear_probe")
    config.eval.every_steps = config.total_steps // 4  # five epochs
    base.resize(config, size)
    if size == "quick":
        data.augment.update(scale_up=0.025, gamma=0.0)
        model.feature_dim = 64
        model.image_encoder.variant = "XS-deep" if variant == "B" else "XS"
        model.text_encoder.pooling = "mean_with_padding"
    return config
