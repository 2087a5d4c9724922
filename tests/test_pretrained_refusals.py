"""Files of published weights that cannot be used: each refused in a sentence that names it."""

import shlex
import shutil
import subprocess
import sys

import huggingface_hub.constants
import numpy as np
import pytest
from safetensors.numpy import load_file

from lumbarclip_jax.models.pretrained.loading import from_hf
from tests.pretrained_folders import recorded, write, write_vocabulary


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_truncated_weights(tmp_path, kept):
    path = write(tmp_path, "vit") / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    with pytest.raises(ValueError, match=r"model.safetensors is cut short or damaged") as error:
        from_hf(tmp_path)
    assert "fetch it again" in str(error.value)


@pytest.mark.parametrize("size", [39, 41])
def test_a_vocabulary_of_another_size(tmp_path, size):
    write_vocabulary(write(tmp_path, "bert") / "vocab.txt", size)
    with pytest.raises(ValueError, match=rf"vocab.txt has {size} tokens, .* knows 40: place"):
        from_hf(tmp_path)
    write_vocabulary(tmp_path / "vocab.txt", 40)
    from_hf(tmp_path)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "checkpoint.pth"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path, pickle):
    folder = write(tmp_path, "vit")
    (folder / "model.safetensors").unlink()
    (folder / "optimizer.pt").write_bytes(b"")
    (folder / pickle).write_bytes(b"never opened")
    with pytest.raises(ValueError, match="is a pickle") as error:
        from_hf(folder / pickle)
    if "model" in pickle:
        with pytest.raises(ValueError, match=f"{pickle} is a pickle"):
            from_hf(folder)
    torch = pytest.importorskip("torch")
    weights = {k: torch.tensor(v) for k, v in recorded("vit", "weights/").items()}
    weights["tied"] = weights["layernorm.bias"]
    nested = weights if "model" in pickle else {"state_dict": weights, "epoch": 3}
    torch.save(nested, folder / pickle)
    command = str(error.value).split("is installed with ")[1].split(" and pass ")[0]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True)
    converted = load_file(folder / "model.safetensors")
    assert converted.keys() == weights.keys()
    np.testing.assert_array_equal(converted["tied"], recorded("vit", "weights/layernorm.bias")[""])


def test_no_weights_at_all(tmp_path):
    (write(tmp_path, "vit") / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model.safetensors: .* python -c"):
        from_hf(tmp_path)


def test_a_file_instead_of_its_folder(tmp_path):
    with pytest.raises(ValueError, match="pass the folder that holds it"):
        from_hf(write(tmp_path, "vit") / "model.safetensors")


@pytest.mark.parametrize("name", ["./no/such/folder", "no such name"])
def test_what_can_be_no_name_of_the_hub_is_a_missing_folder(name):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        from_hf(name)


def test_offline_the_cache_is_used_and_a_missing_model_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="hf download some/bert --local-dir") as error:
        from_hf("some/bert")
    assert "vocab.txt" in str(error.value)

    repository, commit = tmp_path / "models--some--bert", "0" * 40
    write(repository / "snapshots" / commit, "bert")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert from_hf("some/bert")[0].width == 16
    shutil.rmtree(repository)
    with pytest.raises(FileNotFoundError):
        from_hf("some/bert")
