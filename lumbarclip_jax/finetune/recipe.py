"""Every field of a fine-tune: its default, its unit and what it does, once."""

from ml_collections import ConfigDict


def default_recipe() -> ConfigDict:
    """What the command line changes as --recipe.epochs=60; locked, so a typo is an error."""
    recipe = ConfigDict()
    recipe.epochs = 30  # the weights of the epoch with the least validation loss are kept
    recipe.batch_size = 32  # images
    recipe.members = 1  # networks of other seeds, whose probabilities are averaged
    recipe.dropout = 0.2  # of the pooled features
    recipe.ema_decay = 0.98  # of the running mean of weights that is measured; 0 = the last weights
    recipe.encoder_lr = 1.0  # multiplier of the learning rate of an encoder that is not new

    recipe.optim = optim = ConfigDict()
    optim.lr = 2e-3  # peak learning rate, reached after a tenth of the steps, then a cosine to 0
    optim.weight_decay = 0.05  # AdamW, on kernels only
    optim.b1 = 0.9
    optim.b2 = 0.98
    optim.clip_norm = 1.0  # global gradient norm; 0 = off

    # As config.data.augment. The labels name no side, so mirroring is on; where it is, predictions
    # are the mean over an image and its mirror image.
    recipe.augment = augment = ConfigDict()
    augment.scale = 0.15
    augment.translate = 0.05
    augment.gamma = 0.3
    augment.noise = 0.02
    augment.mirror = True
    return recipe.lock()


def plain_recipe() -> ConfigDict:
    """The small CNN's: 24 epochs, mirrored images, and no other augmentation."""
    recipe = default_recipe()
    recipe.epochs = 24
    recipe.dropout = 0.0
    recipe.ema_decay = 0.0
    recipe.optim.update(lr=1e-3, weight_decay=1e-4)
    recipe.augment.update(scale=0.0, translate=0.0, gamma=0.0, noise=0.0)
    return recipe
