"""Learning from classes of unequal size: how to weight, mix and push apart, in one registry.

A strategy is three choices, each a pure jax function of labels and class counts:

    mixing     which images a training image is blended with, and what label the blend has
    weighting  what a class counts in the loss, possibly only in the last part of training
    loss       of a sample, given logits and a label

Training with one, for a batch of images [B, ...] and labels [B] of K classes with counts [K]:

    strategy = strategy.STRATEGIES["mamix_drw"]
    mixture = strategy.mix(key, labels, counts)
    logits = classify(mixture.blend(images))
    loss = strategy.losses(logits, mixture.labels(labels), counts, progress).mean()

Formulas follow the papers named in each docstring; settings are those of "From SMOTE to Mixup for
Deep Imbalanced Classification" (Cheng, Mai & Lin, arXiv 2308.15457).
"""

# Those of `strategy.STRATEGIES`, for who only names them: that one imports JAX.
NAMES = (
    "erm",
    "class_balanced",
    "effective_number",
    "drw",
    "focal",
    "ldam",
    "ldam_drw",
    "mixup",
    "mixup_drw",
    "remix",
    "remix_drw",
    "mamix",
    "mamix_drw",
)
