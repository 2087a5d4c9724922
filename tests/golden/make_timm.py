"""Records tiny timm models: `python -m tests.golden.make_timm` writes timm_*.npz here.

Needs torch and timm. Recorded with torch 2.13.0 and timm 1.0.31.
"""

import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.torchvision_shim import import_module

FOLDER = Path(__file__).parent
MODELS = {
    "vit": (
        "vit_tiny_patch16_224",
        {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 4, "img_size": 16},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4, "img_size": 64},
    ),
    "resnet": ("resnet50", {"layers": (1, 2, 1, 1), "channels": (4, 4, 8, 8)}),
}


def make_model(folder: Path, name: str, arguments: dict, scale: float = 0.1):
    """A timm model with no parameter or statistic at its default, saved as timm saves it."""
    import torch

    timm = import_module("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, **arguments).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn_like(buffer))
            if key.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand_like(buffer))
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return model


def outputs(model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last hidden state, channels last, and what the classifier reads."""
    import torch

    with torch.no_grad():
        last = model.forward_features(torch.tensor(images).permute(0, 3, 1, 2))
        pooled = model.forward_head(last, pre_logits=True)
    # Swin is the one whose maps are channels last in timm too.
    last = last.permute(0, 2, 3, 1) if hasattr(model, "conv1") else last
    return last.numpy(), pooled.numpy()


def main() -> None:
    for family, (name, arguments) in MODELS.items():
        side = arguments.get("img_size", 40)
        images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            model = make_model(Path(folder), name, arguments | {"num_classes": 3})
            weights = load_file(Path(folder) / "model.safetensors")
            config = (Path(folder) / "config.json").read_text()
        last, pooled = outputs(model, images)
        np.savez_compressed(
            FOLDER / f"timm_{family}.npz",
            config=config,
            images=images,
            last_hidden_state=last,
            pooled=pooled,
            **{f"weights/{key}": array for key, array in weights.items()},
        )


if __name__ == "__main__":
    main()
