"""The two towers from `transformers` and the heads on them."""

import pathlib

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel


class Projection(nn.Module):
    """A linear head, or the residual GELU head of `lumbarclip_jax.models.projection`."""

    def __init__(self, width: int, embed_dim: int, kind: str, dropout: float):
        super().__init__()
        self.fc1 = nn.Linear(width, embed_dim)
        self.is_residual = kind == "mlp"
        if self.is_residual:
            self.fc2 = nn.Linear(embed_dim, embed_dim)
            self.norm = nn.LayerNorm(embed_dim)
            self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if self.is_residual:
            x = self.norm(x + self.dropout(self.fc2(F.gelu(x))))
        return x


class LumbarCLIP(nn.Module):
    """The model of `config.model` with the weights of an exported folder."""

    image_projection: Projection
    text_projection: Projection

    def __init__(self, folder: pathlib.Path, config: ConfigDict):
        """Loads `image_encoder/`, `text_encoder/` and `projections.safetensors`.

        Raises:
          ValueError: the heads in the folder are not those of the config.
        """
        super().__init__()
        self.family = config.image_encoder.name
        self.image_pooling = config.image_encoder.pooling
        self.text_pooling = config.text_encoder.pooling
        options = {
            "vit": {"add_pooling_layer": False},
            "swin": {"drop_path_rate": config.image_encoder.drop_path},
            "resnet": {},
        }
        self.image_encoder = AutoModel.from_pretrained(
            folder / "image_encoder", **options[self.family]
        )
        self.text_encoder = AutoModel.from_pretrained(
            folder / "text_encoder", add_pooling_layer=False
        )
        heads = load_file(folder / "projections.safetensors")
        kind, dropout = config.projection.kind, config.projection.dropout
        for tower in ("image", "text"):
            width = heads[f"{tower}_projection.fc1.weight"].shape[1]
            head = Projection(width, config.embed_dim, kind, dropout)
            self.add_module(f"{tower}_projection", head)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        absent, unexpected = self.load_state_dict(heads, strict=False)
        absent = [name for name in absent if not name.startswith(("image_enc", "text_enc"))]
        if absent or unexpected:
            raise ValueError(
                f"{folder} was exported from another model than the config's: {absent} are absent, "
                f"{unexpected} are unexpected"
            )

    def forward(
        self, images: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embeddings of unit length in float32: of images [B, 1, H, W] and of texts [B, T]."""
        image = self.image_projection(self.image_features(images))
        text = self.text_projection(self.text_features(input_ids, attention_mask))
        return F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)

    def image_features(self, images: Tensor) -> Tensor:
        rgb = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        out = self.image_encoder(rgb)
        if self.family == "vit":
            tokens = out.last_hidden_state
            return tokens[:, 0] if self.image_pooling == "cls" else tokens[:, 1:].mean(dim=1)
        return out.pooler_output.flatten(1)

    def text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.text_encoder(input_ids, attention_mask).last_hidden_state
        if self.text_pooling == "cls":
            return tokens[:, 0]
        lengths = attention_mask.sum(dim=1)
        if self.text_pooling == "last":
            return tokens[torch.arange(len(tokens), device=tokens.device), lengths - 1]
        mask = attention_mask[:, :, None]
        return (tokens * mask).sum(dim=1) / lengths.clamp(min=1)[:, None]
