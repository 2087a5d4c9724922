"""What of a page needs the model and the images, not only the files of a run."""

import dataclasses

import jax

from lumbarclip_jax.evaluators.gallery import Gallery, retrieval_gallery
from lumbarclip_jax.process import activity
from lumbarclip_jax.report.embedding_map import EmbeddingMap, embedding_map
from lumbarclip_jax.report.maps import Maps, similarity_maps


@dataclasses.dataclass(frozen=True)
class Examples:
    """`parameters` counts the model's numbers."""

    gallery: Gallery
    embeddings: EmbeddingMap
    maps: Maps
    parameters: int


def find_examples(run, embedder, split: str) -> Examples:
    """Asks the model of a `Run` about a split; every process must call it."""
    activity.now(f"finding examples of {split} for the page")
    return Examples(
        gallery=retrieval_gallery(embedder, run.state, split),
        embeddings=embedding_map(embedder, run.state, split),
        maps=similarity_maps(run, embedder.by_image, split),
        parameters=sum(leaf.size for leaf in jax.tree.leaves(run.state.params)),
    )
