"""The commands as a person types them: mistakes end in one sentence and status 2."""

import subprocess
import sys

import pytest

QUICK = "--config=configs/vit_linear.py:quick"


def command(module: str, *arguments: str):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Flag --config must have a value"),
        (["--config=configs/nope.py"], "there is no config file configs/nope.py"),
        (["--config=configs/vit_linear.py:qick"], "there is no :qick form"),
        ([QUICK, "--config.optim.lrr=1"], "unknown config field lrr, did you mean lr?"),
        ([QUICK, "--config.optim.lr=fast"], "could not convert string to float: 'fast'"),
        ([QUICK, "--confg=x"], "Unknown command line flag 'confg'"),
        ([QUICK, "--workdir=gs://bucket/run"], "is an address, not a folder"),
        ([QUICK, "workdir=x"], "unexpected argument 'workdir=x'"),
        ([QUICK, "--config.data.dir=/no/where"], "/no/where is not a data set"),
        ([QUICK, "--config.data.dir=/no/where", "--config.total_steps=0"], "total_steps=0 must be"),
    ],
)
def test_a_mistake_in_training_is_one_sentence(arguments, sentence):
    result = command("lumbarclip_jax.main", *arguments)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_measuring_a_folder_that_is_no_run(tmp_path):
    result = command("lumbarclip_jax.evaluate", f"--workdir={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path} is not a training run")


@pytest.mark.parametrize("module", ["main", "evaluate"])
def test_help_shows_how_to_run(module):
    result = command(f"lumbarclip_jax.{module}", "--help")
    assert f"python -m lumbarclip_jax.{module}" in result.stdout
    assert "--workdir" in result.stdout
