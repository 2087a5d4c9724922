"""The commands as a person types them: mistakes end in one sentence and status 2."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from lumbarclip_jax import main
from lumbarclip_jax.process import cache

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
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


def test_the_config_is_checked_before_patients_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("LUMBARCLIP_CACHE", str(tmp_path / "cache"))
    workdir = f"--workdir={tmp_path / 'run'}"
    result = command("lumbarclip_jax.main", QUICK, "--config.data.token_buckets=(9,3)", workdir)
    assert result.returncode == 2
    assert result.stderr.startswith("error: the config cannot run: data.token_buckets=(9, 3)")
    assert list(tmp_path.iterdir()) == []


def test_measuring_a_folder_that_is_no_run(tmp_path):
    result = command("lumbarclip_jax.evaluate", f"--workdir={tmp_path}")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path} is not a training run")


def test_a_workdir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file" / "run"):
        result = command("lumbarclip_jax.main", QUICK, f"--workdir={workdir}")
        assert result.returncode == 2
        assert result.stderr.startswith(f"error: --workdir={workdir}: ")
        assert "file is no folder: choose another" in result.stderr


def test_a_user_without_a_home_names_a_cache(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(main.pathlib.Path, "home", home)
    for name in ("LUMBARCLIP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"no home folder .*: set HOME, or LUMBARCLIP_CACHE"):
        cache.cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert str(cache.cache_folder()) == "/shared/lumbarclip_jax"
    monkeypatch.setenv("LUMBARCLIP_CACHE", "/own")
    assert str(cache.cache_folder()) == "/own"


def script(code: str, stdout=subprocess.PIPE, **environment: str):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )


COMMAND = """
import logging, pathlib, sys
from lumbarclip_jax.process import cli
def main():
    {body}
cli.run(main, ["x"])
"""


def test_a_reader_who_leaves_does_not_disturb_the_command(tmp_path):
    out = tmp_path / "done"
    body = f"""
    for number in range(1000):
        print(number)
        logging.getLogger("lumbarclip_jax").info("line %d", number)
    pathlib.Path({str(out)!r}).write_text("whole")
"""
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "w") as stdout:
        result = script(COMMAND.format(body=body), stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert out.read_text() == "whole"


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C"}])
def test_every_character_is_written_whatever_the_locale(environment):
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **environment}
    result = script(COMMAND.format(body="print('at least', chr(0x2265))"), **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "at least \\u2265\n"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (
            "raise AttributeError('x')",
            70,
            "error: this is a bug in lumbarclip_jax (AttributeError)",
        ),
        ("raise RuntimeError('RESOURCE_EXHAUSTED: 9 GiB')", 2, "error: the memory is too small"),
        ("raise MemoryError('9 GiB')", 2, "error: the memory is too small (9 GiB): lower"),
        ("open('/no/where')", 2, "error: /no/where: No such file or directory: correct the name"),
    ],
)
def test_what_is_not_foreseen_ends_in_a_sentence(body, status, said):
    result = script(COMMAND.format(body=body))
    assert result.returncode == status
    assert result.stderr.splitlines()[-1].startswith(said)
    assert ("Traceback" in result.stderr) == (status == 70)


def test_a_data_set_that_was_moved_is_named_by_the_option_of_the_command(tmp_path):
    result = command(
        *("lumbarclip_jax.finetune", "--from_scratch", "--task=pfirrmann_ge_3"),
        *(f"--data_dir={tmp_path}", f"--out={tmp_path / 'out'}"),
    )
    assert result.returncode == 2
    assert f"{tmp_path} is not a data set" in result.stderr
    assert "--data_dir=DIR" in result.stderr
    assert "--config" not in result.stderr


@pytest.mark.parametrize("module", ["main", "evaluate"])
def test_help_shows_how_to_run(module):
    result = command(f"lumbarclip_jax.{module}", "--help")
    assert f"python -m lumbarclip_jax.{module}" in result.stdout
    assert "--workdir" in result.stdout


COMMANDS = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__main__")
    for package in ("data_prep", "lumbarclip_jax")
    for path in (REPOSITORY / package).rglob("*.py")
    if "cli.run(" in path.read_text() and path.name != "cli.py"
)
# Both in one process, where the second run finds everything imported but the command's own module.
HELP_AND_A_TYPO = """
import runpy, sys
from absl import flags
SLOW = {{"jax", "flax", "transformers", "scipy", "sklearn", "matplotlib"}}
for argument in ("--help", "--nosuch"):
    sys.argv = [{module!r}, argument]
    try:
        runpy.run_module({module!r}, run_name="__main__")
    except SystemExit as end:
        slow = SLOW & set(sys.modules)
        print(argument, "ends with", end.code, *sorted(slow), file=sys.stderr)
    for flag in flags.FLAGS.get_key_flags_for_module({module!r}):
        delattr(flags.FLAGS, flag.name)
"""


def test_there_are_commands():
    assert len(COMMANDS) == 23


@pytest.mark.parametrize("module", COMMANDS)
def test_help_and_a_typo_are_answered_at_once(module):
    result = script(HELP_AND_A_TYPO.format(module=module))
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "--help ends with 0",
        "error: Unknown command line flag 'nosuch'",
        "--nosuch ends with 2",
    ]
    assert "  --" in result.stdout
    if module in ("lumbarclip_jax.main", "lumbarclip_jax.evaluate"):
        assert "--[no]distributed" in result.stdout
        assert "--peer_timeout_s" in result.stdout


A_COMMAND = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module({argv!r}[0], run_name="__main__")
finally:
    print("jax" in sys.modules)
"""


@pytest.mark.parametrize(
    ("module", "flag", "said"),
    [
        ("evaluate", "--evaluators=retrieval,x", "there is no x; there are retrieval, zero_shot"),
    ],
)
def test_a_misspelt_name_in_a_list_is_answered_before_jax_starts(module, flag, said):
    result = script(A_COMMAND.format(argv=[f"lumbarclip_jax.{module}", "--workdir=x", flag]))
    assert result.returncode == 2
    assert result.stdout == "False\n"
    assert result.stderr.startswith(f"error: flag {flag.partition('=')[0]}=")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ("pian", "there is no task pian of DIR, did you mean pain? there are pfirrmann_ge_3, "),
        ("pain,pfirmann", "there is no task pfirmann of DIR, did you mean pfirrmann? there are "),
        ("", "no task is named: there are pfirrmann_ge_3, "),
    ],
)
@pytest.mark.parametrize("option", ["workdir", "data_dir"])
def test_a_misspelt_task_is_answered_before_jax_starts(tasks, said, option, tmp_path):
    own = {"name": "pain", "classes": ["no", "yes"], "unit": "patient", "ordered": False}
    for name in ("data_manifest.json", "manifest.json"):  # of a run, and of a data set
        (tmp_path / name).write_text(json.dumps({"tasks": [own]}))
    arguments = [f"--{option}={tmp_path}", f"--task={tasks}", f"--out={tmp_path / 'out'}"]
    if option == "data_dir":
        arguments.append("--from_scratch")
    result = script(A_COMMAND.format(argv=["lumbarclip_jax.finetune", *arguments]))
    assert (result.returncode, result.stdout) == (2, "False\n")
    assert result.stderr.startswith(f"error: {said}".replace("DIR", str(tmp_path)))
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["DIR"], ["--data", "DIR"], ["--data=DIR"]])
def test_the_folder_of_a_data_set_is_plain_or_an_option(arguments, tmp_path):
    arguments = [argument.replace("DIR", str(tmp_path / "none")) for argument in arguments]
    for more in ([], ["--out", str(tmp_path / "x.html")]):
        result = command("data_prep.audit", *arguments, *more)
        assert result.returncode == 2
        assert result.stderr.startswith(f"error: there is no folder {tmp_path / 'none'}")


def test_a_folder_that_is_needed_is_asked_for():
    result = command("data_prep.verify")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: --data is missing: folder of the data set")
