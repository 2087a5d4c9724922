"""LumbarCLIP: an image and a text encoder, a projection each, one learned temperature."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.label_head import Head, label_logits
from lumbarclip_jax.models.layers import Dense
from lumbarclip_jax.models.projection import Projection, unit
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.study_pool import study_pool
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.variants import bert_sizes, resnet_sizes, swin_sizes, vit_sizes
from lumbarclip_jax.models.vit import ViT


class LumbarCLIP(nn.Module):
    """The two towers of LumbarCLIP (arXiv 2509.20813).

    Parameters lie under `image_encoder`, `text_encoder`, `image_projection`, `text_projection`,
    `logit_scale` (log of 1/temperature) and, where a bias is asked for, `logit_bias` (SigLIP).
    Features, embeddings and scale come out in float32 whatever the encoders compute in.

    The features of a tower are what its encoder pools or, where there are the linear layers
    `image_reduction` and `text_reduction`, what these make of it; the projections sit on them.

    Heads on the image embeddings, `head_<task>`, say classes of images where an objective trains
    on labels, too.

    With a `study_pool` the features of all images of a study are pooled before they are projected,
    and a study has one embedding. An image alone is a study of one, which is embedded as itself.
    """

    image_encoder: nn.Module
    text_encoder: nn.Module
    image_projection: nn.Module
    text_projection: nn.Module
    logit_scale_init: float
    logit_bias_init: float | None = None
    image_reduction: nn.Module | None = None
    text_reduction: nn.Module | None = None
    heads: tuple[tuple[str, int], ...] = ()  # (task, number of classes)
    cosine_scale: float | None = None  # of the heads, see `Head`
    study_pool: nn.Module | None = None  # see `study_pool`

    @property
    def takes(self) -> tuple[str, ...]:
        """Fields of a batch, see `data.fields`."""
        return ("images", "input_ids", "attention_mask", *(["level"] if self.heads else []))

    @property
    def pools_studies(self) -> bool:
        """Whether the images of a row are taken together, as a study."""
        return self.study_pool is not None

    def setup(self) -> None:
        for task, classes in self.heads:
            setattr(self, f"head_{task}", Head(classes, self.cosine_scale))
        self.logit_scale = self.param(
            "logit_scale", nn.initializers.constant(self.logit_scale_init), ()
        )
        if self.logit_bias_init is not None:
            self.logit_bias = self.param(
                "logit_bias", nn.initializers.constant(self.logit_bias_init), ()
            )

    def __call__(
        self,
        images: Float[Array, "B *V H W C"],
        input_ids: Int[Array, "M T"],
        attention_mask: Int[Array, "M T"],
        levels: Float[Array, "B L"] | None = None,
        *,
        train: bool = False,
    ) -> dict[str, Array]:
        """Returns image_embeds [B, E] and text_embeds [M, E] of unit length, image_features [B, D],
        text_features [M, D'], logit_scale and, where there are some, logit_bias and logits/<task>
        [B, K] of images at `levels`. What pools studies takes the V images of each, or one."""
        if self.pools_studies:
            images = images if images.ndim == 5 else images[:, None]
            out = self.encode_study(images, train=train)
        else:
            out = self.encode_image(images, train=train)
        out |= self.encode_text(input_ids, attention_mask, train=train)
        if levels is not None:
            out |= self.label_logits(out["image_embeds"], levels)
        out["logit_scale"] = self.logit_scale
        if self.logit_bias_init is not None:
            out["logit_bias"] = self.logit_bias
        return out

    def encode_image(
        self, images: Float[Array, "B H W C"], *, train: bool = False
    ) -> dict[str, Array]:
        """Returns image_embeds [B, E] of unit length and image_features [B, D]."""
        return self._projected(self._image_features(images, train), train)

    def encode_study(
        self, images: Float[Array, "B V H W C"], *, train: bool = False
    ) -> dict[str, Array]:
        """As `pool_study`, of the V images of each study."""
        features = self._image_features(images.reshape(-1, *images.shape[2:]), train)
        features = features.reshape(*images.shape[:2], -1)
        return self.pool_study(features, jnp.ones(images.shape[:2], bool), train=train)

    def pool_study(
        self, features: Float[Array, "B N D"], mask: Bool[Array, "B N"], *, train: bool = False
    ) -> dict[str, Array]:
        """What `encode_image` returns, of studies by the features of their images.

        `mask` is true of the images of a study and false of what fills it up to N.
        """
        assert self.study_pool is not None, "the model pools studies"
        return self._projected(self.study_pool(features, mask), train)

    def _image_features(self, images: Float[Array, "B H W C"], train: bool):
        return reduced(self.image_encoder(images, train=train)["pooled"], self.image_reduction)

    def _projected(self, features: Float[Array, "B D"], train: bool) -> dict[str, Array]:
        embeds = self.image_projection(features, train=train)
        return {"image_embeds": unit(embeds), "image_features": features.astype(jnp.float32)}

    def label_logits(
        self, image_embeds: Float[Array, "B E"], levels: Float[Array, "B L"]
    ) -> dict[str, Array]:
        """Returns logits/<task> [B, K] of the heads; see `label_head.label_logits`."""
        heads = {task: getattr(self, f"head_{task}") for task, _ in self.heads}
        return label_logits(heads, image_embeds, levels)

    def encode_text(
        self,
        input_ids: Int[Array, "B T"],
        attention_mask: Int[Array, "B T"],
        *,
        train: bool = False,
    ) -> dict[str, Array]:
        """Returns text_embeds [B, E] of unit length and text_features [B, D]."""
        pooled = self.text_encoder(input_ids, attention_mask, train=train)["pooled"]
        features = reduced(pooled, self.text_reduction)
        embeds = self.text_projection(features, train=train)
        return {"text_embeds": unit(embeds), "text_features": features.astype(jnp.float32)}


def reduced(pooled: Float[Array, "B D"], reduction: nn.Module | None) -> Float[Array, "B F"]:
    """The features of a tower: what is pooled, through the linear layer where there is one."""
    return pooled if reduction is None else reduction(pooled)


def build_model(config: Any, vocab_size: int, dtype: DTypeLike = jnp.float32) -> LumbarCLIP:
    """The model of `config.model`, with encoders that compute in `dtype`.

    Raises:
        ValueError: an encoder, variant, pooling or projection that does not exist.
    """
    image_kind, text_kind = projection_kinds(config.projection)
    feature_dim = getattr(config, "feature_dim", 0)
    sizes: dict[str, Any] = {"vocab_size": vocab_size} | sizes_of(config.text_encoder, bert_sizes)

    def project(kind: str) -> Projection:
        return Projection(config.embed_dim, kind, config.projection.dropout, dtype)

    def reduce() -> Dense | None:
        if not feature_dim:
            return None
        return Dense(feature_dim, ("embed", None), use_bias=False, dtype=dtype)

    return LumbarCLIP(
        image_encoder=build_image_encoder(config, dtype),
        text_encoder=Bert(
            pooling=config.text_encoder.pooling,
            pool_layers=tuple(getattr(config.text_encoder, "pool_layers", ())),
            remat=config.remat,
            scan_layers=config.scan_layers,
            dtype=dtype,
            **sizes,
        ),
        image_projection=project(image_kind),
        text_projection=project(text_kind),
        image_reduction=reduce(),
        text_reduction=reduce(),
        logit_scale_init=config.logit_scale_init,
        logit_bias_init=getattr(config, "logit_bias_init", None),
        study_pool=study_pool(getattr(config, "study_pooling", "")),
        **_heads(config),
    )


def _heads(config: Any) -> dict[str, Any]:
    if not (heads := getattr(config, "heads", None)):
        return {}
    # A config that was saved as JSON has lists for tuples.
    return {"heads": tuple(map(tuple, heads.tasks)), "cosine_scale": heads.cosine_scale}


def projection_kinds(projection: Any) -> tuple[str, str]:
    """Kinds of the image's and the text's head of `config.model.projection`."""
    return projection.kind, getattr(projection, "text_kind", "") or projection.kind


def build_image_encoder(config: Any, dtype: DTypeLike) -> nn.Module:
    """The image encoder that `config.image_encoder` names.

    `scan_layers` concerns ViT alone: the blocks of Swin and ResNet differ in shape.
    """
    encoder = config.image_encoder
    options: dict[str, Any] = {"pooling": encoder.pooling, "remat": config.remat, "dtype": dtype}
    drop_path = getattr(encoder, "drop_path", 0.0)
    if encoder.name == "vit":
        options |= {"drop_path": drop_path, "scan_layers": config.scan_layers}
        return ViT(**sizes_of(encoder, vit_sizes), **options)
    if encoder.name == "swin":
        return Swin(**sizes_of(encoder, swin_sizes), **options, drop_path=drop_path)
    if encoder.name == "resnet":
        return ResNet(**sizes_of(encoder, resnet_sizes), **options)
    raise ValueError(f"image encoder {encoder.name!r} is not one of vit, swin, resnet")


def sizes_of(encoder: Any, variant_sizes: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Fields of an encoder: those a checkpoint brought along (`encoder.sizes`) or its variant's."""
    sizes = getattr(encoder, "sizes", None)
    if not sizes:
        return variant_sizes(encoder.variant)
    # A config that was saved as JSON has lists for tuples.
    return {name: tuple(x) if isinstance(x, list) else x for name, x in sizes.items()}
