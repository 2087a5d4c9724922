"""The exported programs, run by a process that has jax and numpy and nothing else."""

import os
import subprocess
import sys
from importlib import metadata

import jax
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.export import export, stablehlo
from lumbarclip_jax.training.encoding import make_encoders
from tests.tiny_runs import make_run, tiny_config

PROGRAM = """
import sys
import numpy as np
from encoders import load

inputs = np.load(sys.argv[1])
encode_image, encode_text = load("encode_image"), load("encode_text")
assert not {"flax", "lumbarclip_jax", "safetensors"} & set(sys.modules)
out = {}
for size in map(int, sys.argv[3:]):
    out[f"image_{size}"] = encode_image(inputs["images"][:size])
    out[f"text_{size}"] = encode_text(inputs["input_ids"][:size], inputs["attention_mask"][:size])
np.savez(sys.argv[2], **out)
"""
# What `pip install jax numpy` installs.
PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum")
TEXTS = ["disc protrusion", "normal", "L4-L5 : touching the thecal sac .", "study of the discs", ""]


def inputs_of(run):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), np.uint8)
    return {"images": images, **run.tokenizer(TEXTS)}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder of packages to import from that holds `PACKAGES` alone."""
    folder = tmp_path_factory.mktemp("packages")
    for package in PACKAGES:
        distribution = metadata.distribution(package)
        for name in {file.parts[0] for file in distribution.files} - {".."}:
            (folder / name).symlink_to(distribution.locate_file(name))
    return folder


def run_alone(folder, packages, inputs, sizes):
    np.savez(folder.parent / "inputs.npz", **inputs)
    # One device, compiled for as the expected numbers are: they are compared to seven digits.
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    environment = os.environ | {"XLA_FLAGS": " ".join(flags)}
    result = subprocess.run(
        # -S leaves out the packages of this environment.
        [sys.executable, "-S", "-c", PROGRAM, "../inputs.npz", "../outputs.npz", *map(str, sizes)],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    with np.load(folder.parent / "outputs.npz") as outputs:
        return dict(outputs)


def check(run, folder, packages, sizes):
    inputs = inputs_of(run)
    outputs = run_alone(folder, packages, inputs, sizes)
    assert len(outputs) == 2 * len(sizes)
    # One device, as there, and the same batch: XLA rounds otherwise for another shape.
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    encode_image, encode_text = make_encoders(run.model, run.config, mesh)
    state = jax.device_get(run.state)
    for size in sizes:
        batch = {name: rows[:size] for name, rows in inputs.items()}
        expected = {
            f"image_{size}": encode_image(state, batch["images"])["image_embeds"],
            f"text_{size}": encode_text(state, batch)["text_embeds"],
        }
        for name, embeds in expected.items():
            assert outputs[name].shape == (size, 16)
            assert outputs[name].dtype == np.float32
            error = np.linalg.norm(outputs[name] - embeds)
            assert error <= 1e-6 * np.linalg.norm(embeds), name


def test_vit_and_bert(tiny_run, packages, tmp_path):
    export(tiny_run.folder, "stablehlo", tmp_path / "out")
    check(tiny_run, tmp_path / "out", packages, sizes=(1, 5))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["resnet", "swin"])
def test_other_encoders(encoder, tiny_dataset, packages, tmp_path):
    config = tiny_config(tiny_dataset)
    config.model.image_encoder.update(name=encoder, variant="XS", pooling="mean")
    config.model.scan_layers = True
    run = make_run(tmp_path / "run", config)
    (tmp_path / "out").mkdir()
    stablehlo.write(run, tmp_path / "out")
    check(run, tmp_path / "out", packages, sizes=(5,))
