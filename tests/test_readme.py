"""The README's commands, one after another and tiny, as somebody new would type them."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from tests import data_prep_cohort as cohort

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PATIENTS = 40

# The rest of a command's meaning stays; these make it small. A later option wins.
FEW_STEPS = (
    "--config.total_steps=4 --config.optim.warmup_steps=1 --config.log_every_steps=1 "
    "--config.data.global_batch_size=8 --config.data.image_size_px=32 --config.data.crop_px=32 "
    "--config.data.max_tokens=16 --config.model.embed_dim=16 --config.eval.every_steps=2 "
    "--config.eval.bootstrap_resamples=100 --config.checkpoint.every_steps=2"
)
TINY = {
    "data_prep.build": "--size_px=32 --workers=1",
    "lumbarclip_jax.main": FEW_STEPS,
    "lumbarclip_jax.evaluate": "--resamples=100",
    "lumbarclip_jax.finetune": "--recipe.epochs=1 --recipe.data.global_batch_size=8 "
    "--resamples=100",
    "lumbarclip_jax.paired": "--resamples=100",
    "lumbarclip_jax.sweep": "--configs=configs/vit_{linear,mlp}.py --seeds=1 --resamples=100 "
    f"{FEW_STEPS}",
    "lumbarclip_jax.authors_protocol": "--configs=configs/authors_resnet_linear.py --seeds=1 "
    f"--objectives=labels --resamples=100 --recipe.epochs=1 --recipe.data.global_batch_size=8 "
    f"{FEW_STEPS}",
    "lumbarclip_jax.bench.input": "--repeats=1 --threads=1 --config.data.global_batch_size=8",
}
# What cannot be run here, by the words that tell it, with the reason.
ELSEWHERE = {
    "pip install": "run by the tests' own beginning",
    "pytest -n": "these tests",
    "google/vit-base-patch16-224": "fetches weights; test_pretrained_training has small ones",
    "bench.aot": "needs a TPU's or GPU's compiler; test_bench_aot_table",
    "bench.compare": "takes minutes; test_bench_compare",
    "bench.ladder": "takes minutes; test_bench_ladder",
    "sbatch": "needs Slurm; test_launch",
}
# What may be warned of on so little data, and why.
EXPLAINED = {
    r"tasks skipped, for want of labelled patients": "few of 40 patients are tested",
    r"probes of .* stopped before": "features of four steps separate few patients in any way",
    r"reports are in several splits": "a table of splits may have patients of one report anywhere",
    r"git would take along": "the data set lies in a work tree, if the temporary folder does",
}

# Parts of the page, by how they begin.
PARTS = ("At a glance", "Retrieval", "Robustness", "Retrieval by class", "Classification")
PARTS += ("Examples", "Map of the", "Where it looks", "Training", "Data", "How to read", "Config")


def commands() -> list[str]:
    """Every line of a shell block, continued ones as one, without what is said after a #."""
    text = (REPOSITORY / "README.md").read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    lines = re.sub(r"\\\n\s*", "", blocks).splitlines()
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.strip()]


def python_blocks() -> list[str]:
    text = (REPOSITORY / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> pathlib.Path:
    """A folder in which the names of the README are those of small things."""
    place = tmp_path_factory.mktemp("readme")
    source = place / "DIR"
    cohort.write_slices(source, PATIENTS, 32)
    cohort.write_reports(source / "Radiologists Report.xlsx", PATIENTS)
    cohort.write_labels(source / "PfirrmannGrade.csv", place / "unused.jsonl", PATIENTS)
    cohort.write_split_table(place / "authors_split.csv", PATIENTS)
    (place / "data").mkdir()
    (place / "data" / "lumbar.key").write_text("ab" * 32)  # else the order of patients is chance's
    for name in ("configs", "lumbarclip_jax", "data_prep"):
        (place / name).symlink_to(REPOSITORY / name)
    return place


def run(arguments: list[str], place: pathlib.Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(place), "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, f"{shlex.join(arguments)}: {said[-3000:]}"
    unexplained = [
        line
        for line in said.splitlines()
        if re.search("warning|error", line, re.IGNORECASE)
        and not any(re.search(known, line) for known in EXPLAINED)
    ]
    assert not unexplained, f"{shlex.join(arguments)}: {unexplained}"
    return said


def prepare(command: str, place: pathlib.Path) -> None:
    """Makes what a line takes for granted: another run, and other data of the same kind."""
    if "runs/other" in command:
        shutil.copytree(place / "runs" / "lumbar", place / "runs" / "other")
    if "data/other" in command:
        shutil.copytree(place / "data" / "lumbar", place / "data" / "other")


@pytest.mark.slow
def test_every_line_runs_and_the_page_has_no_empty_part(place):
    ran = 0
    for command in commands():
        if any(words in command for words in ELSEWHERE):
            continue
        python, dash_m, module, *options = shlex.split(command)
        assert (python, dash_m) == ("python", "-m"), f"nobody runs {command!r}"
        if module == "lumbarclip_jax.main":
            options = [re.sub(r"(^--config=.*\.py)$", r"\1:quick", option) for option in options]
        prepare(command, place)
        run(["-m", module, *options, *shlex.split(TINY.get(module, ""))], place)
        ran += 1
    assert ran == 17
    page = (place / "runs" / "lumbar" / "report.html").read_text()
    parts = re.split(r"<h2[^>]*>", page)[1:]
    assert len(parts) == len(PARTS)
    for title, part in zip(PARTS, parts, strict=True):
        assert part.startswith(title)
        assert re.search("<(table|svg|img|dl|li|div)", part), f"{title} is empty"
    assert not re.findall(r"<tr>\s*<th[^>]*>[^<]*</th>\s*</tr>", page), "a row without a number"
    shutil.copy(next((place / "DIR").rglob("*.png")), place / "slice.png")
    for code in python_blocks():
        code = code.replace("slice.dcm", "slice.png")
        if "classifier = " in code:
            code = f"import lumbarclip_jax\n{code}"
        run(["-c", code], place)


def test_every_line_that_is_not_run_is_known():
    text = "\n".join(commands())
    assert all(words in text for words in ELSEWHERE)
