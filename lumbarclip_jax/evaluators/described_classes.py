"""Classes described in words, and how probable each is for an image, whoever asks.

`Model.zero_shot` and the zero-shot evaluator both answer by these functions. After CLIP (arXiv
2103.00020, sections 2.3 and 3.1.4) the embedding of a class is the mean of its prompts' unit
embeddings, normalised again, and the probabilities are the softmax over classes of
cosine / temperature, with the temperature learnt in training. A bias that was learnt with it
(SigLIP) is added to every class alike, so it cancels.
"""

from collections.abc import Sequence

import numpy as np
import scipy.special


def embeds(prompts: Sequence[np.ndarray]) -> np.ndarray:
    """Unit embeddings f32 `[K, E]` of K classes, from those `[P, E]` of each one's prompts."""
    means = np.stack([of_class.mean(axis=0) for of_class in prompts])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def probabilities(
    image_embeds: np.ndarray, class_embeds: np.ndarray, logit_scale: float
) -> np.ndarray:
    """Probabilities f64 `[M, K]`, rows that sum to 1.

    Args:
      image_embeds: `[M, E]` of unit length.
      class_embeds: `[K, E]` of unit length.
      logit_scale: log of 1 / temperature, a parameter of the model.
    """
    cosines = image_embeds.astype(np.float64) @ class_embeds.T
    return scipy.special.softmax(np.exp(logit_scale) * cosines, axis=1)
