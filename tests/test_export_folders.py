"""The export command: whole folders or none, checksums, and a card made from the run."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from lumbarclip_jax.data import resplit
from lumbarclip_jax.export import FORMATS, export
from lumbarclip_jax.run_folder import checksums
from tests.tiny_runs import METRICS, STEPS


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, tiny_run, tmp_path_factory):
    """(format, a folder made from the run)."""
    run = shutil.copytree(tiny_run.folder, tmp_path_factory.mktemp("run") / "run")
    for path in run.iterdir():
        path.chmod(path.stat().st_mode & 0o700)
    out = tmp_path_factory.mktemp("exported") / request.param
    export(run, request.param, out)
    return request.param, out


def test_every_file_but_the_card_has_its_checksum(exported):
    _, folder = exported
    listed = {line.split()[1] for line in (folder / checksums.FILE).read_text().splitlines()}
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert listed == files - {checksums.FILE, "README.md"}
    checksums.verify(folder, required=tuple(listed))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_who_may_read_the_folder_may_read_every_file(exported):
    _, folder = exported
    umask = os.umask(0o022)
    os.umask(umask)
    modes = {p.name: p.stat().st_mode & 0o777 for p in folder.rglob("*") if p.is_file()}
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)


def test_the_card_begins_with_what_the_hub_reads(exported):
    format, folder = exported
    card = ModelCard.load(folder / "README.md").data
    libraries = {"hf": "transformers", "safetensors": "lumbarclip_jax", "stablehlo": "jax"}
    assert card.to_dict()["library_name"] == libraries[format]
    assert (card.pipeline_tag == "image-feature-extraction") == (format == "hf")
    # The licence of the code is not that of weights, which come of somebody's data.
    assert (card.license, card.license_name) == ("other", "not-stated")
    assert "whoever trained them decides" in (folder / "README.md").read_text()


def test_the_main_numbers_come_first(exported):
    _, folder = exported
    top, _ = (folder / "README.md").read_text().split("## Use")
    row = "| Retrieval, test | Image → report, Recall at 5 | 43.2 % | 25.1 – 61.8 % | 11.1 % |"
    assert row in top.replace("\N{NO-BREAK SPACE}", " ")


def test_numbers_of_a_leaky_split_come_with_their_warning(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    manifest = json.loads((run / "data_manifest.json").read_text())
    (run / "data_manifest.json").write_text(json.dumps(manifest | {"warning": resplit.WARNING}))
    export(run, "safetensors", tmp_path / "out")
    top, _ = (tmp_path / "out" / "README.md").read_text().split("| Retrieval, test")
    assert f"**{resplit.WARNING}**" in top


def test_the_card_has_the_numbers_of_the_run(exported, tiny_run):
    format, folder = exported
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n")
    assert f"{STEPS} steps of 32 pairs" in card
    row = "| Image → report | Recall at 5 | 43.2 % | 25.1 – 61.8 % | 11.1 % |"
    assert row in card.replace("\N{NO-BREAK SPACE}", " ")
    for split, counts in tiny_run.data_manifest["splits"].items():
        row = f"| {split} | {counts['images']} | {counts['patients']} | {counts['report_groups']} |"
        assert row in card
    assert "not a medical device" in card
    assert "It knows axial T1 slices" in card
    assert {"hf": "AutoModel", "stablehlo": "from encoders", "safetensors": "load("}[format] in card


@pytest.mark.parametrize("format", FORMATS)
def test_no_path_of_this_machine_leaves(format, tiny_run, tmp_path):
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    private = tmp_path / "General_Hospital"
    (private / "bert").mkdir(parents=True)
    config = json.loads((run / "config.json").read_text())
    config["data"]["dir"] = str(private)
    config["data"]["dirs"] = [[str(private), 1.0]]
    for name in ("perturb", "prompts"):
        config["data"][name]["table"] = str(private / "table.toml")
    (private / "table.toml").write_text("")
    config["model"]["pretrained"] = str(private / "bert")
    config["model"]["text_encoder"]["pretrained"] = str(private / "bert")
    config["model"]["image_encoder"]["pretrained"] = "google/vit-base-patch16-224"
    (run / "config.json").write_text(json.dumps(config))
    export(run, format, tmp_path / "out")
    contents = [p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(b"General_Hospital" in content for content in contents)
    assert any(b"google/vit-base-patch16-224" in content for content in contents)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "began from\nallow (google/vit-base-patch16-224, bert)" in card


def test_the_safetensors_folder_keeps_the_definition_of_the_run(tiny_run, tmp_path):
    out = tmp_path / "new" / "out"
    export(tiny_run.folder, "safetensors", out)
    for name in ("vocab.txt", "data_manifest.json"):
        assert (out / name).read_bytes() == (tiny_run.folder / name).read_bytes()
    assert json.loads((out / "metrics.json").read_text()) == METRICS
    again = tmp_path / "again"
    export(out, "safetensors", again)
    assert (again / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()


def test_a_folder_with_something_in_it_is_left_alone(tiny_run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not an empty folder: delete it or choose another"):
        export(tiny_run.folder, "safetensors", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_failed_export_leaves_nothing(tiny_run, tmp_path, monkeypatch):
    def fail(run, folder):
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lumbarclip_jax.export.huggingface.write", fail)
    with pytest.raises(OSError, match="No space left"):
        export(tiny_run.folder, "hf", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_run_older_than_its_data_manifest_is_told_what_to_do(tiny_run, tmp_path):
    for path in tiny_run.folder.iterdir():
        if path.name != "data_manifest.json":
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(FileNotFoundError, match=r"run the training command of .* once more"):
        export(tmp_path, "safetensors", tmp_path / "out")


def test_the_command_says_in_one_sentence_what_is_wrong(tmp_path):
    command = [sys.executable, "-m", "lumbarclip_jax.export", "--format=hf"]
    command += [f"--workdir={tmp_path}", f"--out={tmp_path / 'out'}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path} is not a training run")
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
