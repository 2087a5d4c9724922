"""A run goes on as the run that it was: the same config where it counts, and the same data."""

import dataclasses
import json
import logging
import pathlib
import shutil
import subprocess
import sys

import pytest

import lumbarclip_jax
from configs import base
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.export import export
from lumbarclip_jax.report.tables import flat
from lumbarclip_jax.run_folder import config_changes, trained_patients
from lumbarclip_jax.run_folder.run import Run, load_run, save_definition, save_trained_patients
from lumbarclip_jax.training import earlier
from tests import data_prep_cohort as cohort
from tests import tiny_runs

BY_PLAN = ("content", "key_fingerprint")


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory) -> pathlib.Path:
    """The patients of `tiny_dataset` under the same key, split with another seed."""
    return cohort.tiny_set(tmp_path_factory.mktemp("rebuilt"), seed=1)


@pytest.fixture
def run(tiny_run, tmp_path) -> Run:
    """A copy of the tiny run, which may be written to."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    save_trained_patients(folder, Dataset(tiny_run.config.data.dir), tiny_runs.STEPS)
    return dataclasses.replace(tiny_run, folder=folder)


def go_on(run: Run, folder=None, *, step: int | None = tiny_runs.STEPS, **fields) -> dict:
    """The config that is kept after the run went on with these fields, dots written as __."""
    config = run.config.copy_and_resolve_references()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    config.data.dir = str(folder or config.data.dir)
    manifest = Dataset(config.data.dir).manifest
    save_definition(run.folder, config, run.tokenizer, manifest, step)
    return json.loads((run.folder / "config.json").read_text())


def edit(path: pathlib.Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def finish(run: Run) -> None:
    """As if the run had been trained and measured to the end."""
    edit(run.folder / "config.json", lambda config: config.update(total_steps=tiny_runs.STEPS))
    for name in ("metrics.json", "predictions.npz", "report.html"):
        (run.folder / name).write_text("{}")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("seed", 7, "seed=0, not 7"),
        ("data__global_batch_size", 16, "data.global_batch_size=32, not 16"),
        ("data__keep_sentence", 0.5, "data.keep_sentence=0.7, not 0.5"),
        ("data__augment__noise", 0.0, "data.augment.noise=0.02, not 0.0"),
        ("data__token_buckets", (8,), r"data.token_buckets=\[\], not \[8\]"),
        ("objective__clip__weight", 0.5, "objective.clip.weight=0.0, not 0.5: set that"),
        ("objective__soft_clip__hard_weight", 1.0, "objective.soft_clip.hard_weight=0.9, not 1.0"),
        ("objective__group_reports", False, "objective.group_reports=True, not False"),
        ("model__projection__kind", "mlp", "model.projection.kind='linear', not 'mlp'"),
        ("model__embed_dim", 24, "model.embed_dim=16, not 24"),
        ("model__lora__rank", 4, "model.lora.rank=0, not 4"),
        ("optim__frozen", ("text_encoder/.*",), "optim.frozen"),
        ("eval__unit", "image", "eval.unit='auto', not 'image'"),
    ],
)
def test_what_makes_another_run_is_refused(run, field, value, told):
    before = (run.folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match=f"was trained with {told}.*another --workdir"):
        go_on(run, **{field: value})
    assert (run.folder / "config.json").read_bytes() == before


def test_the_rest_is_said_in_one_line(run, caplog):
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    fields = {
        "optim__lr": 0.5,
        "optim__accumulation_steps": 2,
        "total_steps": 900,
        "model__remat": True,
        "model__scan_layers": True,
        "mesh__fsdp": 2,
        "data__read_processes": 3,
        "eval__at_the_end": ("retrieval",),
        "objective__method": "dense",
        "dtype": "float32",
    }
    unused = {"objective__clip__schedule": ((0.5, 1.0),)}  # of a term that is not computed
    kept = flat(go_on(run, **fields, **unused))
    assert {name: kept[name.replace("__", ".")] for name in fields} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    }
    (line,) = [r.getMessage() for r in caplog.records if "going on with" in r.getMessage()]
    assert all(name.replace("__", ".") in line for name in fields)
    assert "optim.lr=0.5, was 0.001" in line


def test_every_field_is_judged_once():
    fields = flat(json.loads(json.dumps(base.get_config().to_dict())))
    assert fields.keys() >= config_changes.MAY_CHANGE
    assert fields.keys() >= config_changes.PLACES | config_changes.STARTS
    assert {field: fields[field] for field in earlier.LATER} == earlier.LATER
    judged = (config_changes.MAY_CHANGE, config_changes.PLACES, config_changes.STARTS)
    assert sum(map(len, judged)) == len(frozenset.union(*judged))


def test_fields_that_an_older_run_lacks_had_their_defaults(run):
    def age(config):
        for field in ("resplit", "token_buckets", "check_shards", "read_processes", "lowercase"):
            del config["data"][field]
        del config["optim"]["accumulation_steps"]

    edit(run.folder / "config.json", age)
    with pytest.raises(ValueError, match=r"trained with data.resplit='', not 'fold_1_of_3'"):
        go_on(run, data__resplit="fold_1_of_3")
    assert go_on(run)["data"]["resplit"] == ""


def test_a_moved_checkpoint_that_it_started_from_is_the_same_one(run):
    def start(config):
        config["model"]["text_encoder"]["pretrained"] = "/old/place/bert"

    edit(run.folder / "config.json", start)
    go_on(run, model__text_encoder__pretrained="/new/bert")
    with pytest.raises(ValueError, match=r"text_encoder.pretrained='/new/bert', not '/new/other'"):
        go_on(run, model__text_encoder__pretrained="/new/other")


def test_before_anything_is_trained_all_may_change(run, rebuilt):
    kept = go_on(run, rebuilt, step=None, seed=7, data__global_batch_size=4)
    assert (kept["seed"], kept["data"]["global_batch_size"]) == (7, 4)
    save_trained_patients(run.folder, Dataset(rebuilt), None)
    trained = trained_patients.read(run.folder / "trained_patients.txt")
    assert trained == trained_patients.digests(Dataset(rebuilt).columns("train").patient_id)


def test_a_finished_run_stays_as_it_is(run):
    finish(run)
    before = {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}
    for change in ({"optim__lr": 0.5}, {"eval__batch_size": 4}, {"data__read_threads": 9}):
        with pytest.raises(ValueError, match=r"larger total_steps or eval\.patience trains"):
            go_on(run, total_steps=tiny_runs.STEPS, **change)
    go_on(run, total_steps=tiny_runs.STEPS)
    assert {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()} == before
    assert go_on(run, total_steps=9, optim__lr=0.5)["total_steps"] == 9


def test_a_run_cannot_be_shorter_than_it_is(run):
    with pytest.raises(ValueError, match="trained to step 7, beyond total_steps=3: set that or"):
        go_on(run, total_steps=3)


@pytest.mark.parametrize("name", ["config.json", "data_manifest.json"])
def test_a_cut_file_of_the_run_is_named(run, name):
    path = run.folder / name
    path.write_text(path.read_text()[:40])
    with pytest.raises(ValueError, match=f"{path} is cut or damaged: restore it"):
        go_on(run)


def test_another_data_set_is_refused_and_a_moved_one_is_not(run, rebuilt, tmp_path, caplog):
    with pytest.raises(ValueError, match=r"another data set .*seed was 0, is 1.*that one, or"):
        go_on(run, rebuilt)
    caplog.set_level(logging.INFO, "lumbarclip_jax")
    moved = shutil.copytree(run.config.data.dir, tmp_path / "moved")
    assert go_on(run, moved)["data"]["dir"] == str(moved)
    assert not caplog.records


def test_older_runs_are_compared_by_the_plan_of_their_data(run, rebuilt):
    kept = run.folder / "data_manifest.json"
    edit(kept, lambda manifest: [manifest.pop(name) for name in BY_PLAN])
    with pytest.raises(ValueError, match="another data set"):
        go_on(run, rebuilt)
    go_on(run)
    assert "content" in json.loads(kept.read_text())
    kept.unlink()
    go_on(run)  # older still: what it lacks is added
    assert "content" in json.loads(kept.read_text())


def test_patients_that_it_was_trained_on_are_counted_elsewhere(run, rebuilt, caplog):
    own, other = Dataset(run.config.data.dir), Dataset(rebuilt)
    assert run.cautions(own, "test") == {}
    assert not caplog.records
    shared = set(own.columns("train").patient_id) & set(other.columns("test").patient_id)
    assert run.cautions(other, "test") == {"TRAINED_ON_MEASURED_PATIENTS": float(len(shared))}
    tested = other.manifest["splits"]["test"]["patients"]
    assert 0 < len(shared) < tested
    assert f"trained on {len(shared)} of the {tested} patients of test" in caplog.text


def test_an_older_run_asks_its_own_data_set_while_that_is_there(run, rebuilt, tmp_path, caplog):
    known = run.cautions(Dataset(rebuilt), "test")
    (run.folder / "trained_patients.txt").unlink()
    assert run.cautions(Dataset(rebuilt), "test") == known
    gone = run.config.copy_and_resolve_references()
    gone.data.dir = str(tmp_path / "gone")
    orphan = dataclasses.replace(run, config=gone)
    assert orphan.cautions(Dataset(rebuilt), "test") == {}
    assert "kept no list of the patients it was trained on" in caplog.text


def test_patients_under_another_key_cannot_be_told(run, rebuilt, caplog):
    other = Dataset(rebuilt)
    other.manifest = other.manifest | {"key_fingerprint": "0" * 16}
    columns = other.columns("test")
    columns.patient_id[:] = [f"{i:016x}" for i in range(len(columns.patient_id))]
    assert run.cautions(other, "test") == {}
    assert "pseudonyms of another key" in caplog.text


def test_the_list_names_no_pseudonym_and_a_cut_one_is_refused(run):
    path = run.folder / "trained_patients.txt"
    lines = path.read_text().split()
    patients = set(Dataset(run.config.data.dir).columns("train").patient_id)
    assert len(lines) == len(patients)
    assert lines == sorted(lines)
    assert not set(lines) & patients
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r"trained_patients\.txt is cut or damaged: delete it"):
        trained_patients.read(path)


def test_an_export_knows_whom_it_was_trained_on(run, rebuilt, tmp_path):
    export(run.folder, "safetensors", tmp_path / "out")
    exported = load_run(tmp_path / "out")
    known = exported.cautions(Dataset(rebuilt), "test")
    assert known["TRAINED_ON_MEASURED_PATIENTS"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "--evaluators=retrieval,few_shot", "--out={out}/metrics.json"),
        (
            "finetune",
            "--task=pfirrmann_ge_3",
            "--recipe.epochs=1",
            "--recipe.data.global_batch_size=8",
            "--out={out}",
        ),
    ],
)
def test_every_file_measured_on_them_says_so(run, rebuilt, tmp_path, command):
    name, *arguments = (part.format(out=tmp_path / "out") for part in command)
    python = [sys.executable, "-m", f"lumbarclip_jax.{name}", f"--workdir={run.folder}"]
    result = subprocess.run(
        [*python, f"--data_dir={rebuilt}", "--resamples=100", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    assert "what is measured on them is what it remembers" in result.stdout
    metrics = read_metrics(tmp_path / "out" / "metrics.json")
    assert next(iter(metrics)) == "TRAINED_ON_MEASURED_PATIENTS"
    assert metrics["TRAINED_ON_MEASURED_PATIENTS"] > 0
    if name == "finetune":
        # On the data set of the fine-tune it is still the run's training that counts.
        classifier = lumbarclip_jax.load(tmp_path / "out")
        measured = classifier.cautions(classifier.dataset(), "test")
        assert measured.items() <= metrics.items()
        assert measured.keys() == {"TRAINED_ON_MEASURED_PATIENTS"}
