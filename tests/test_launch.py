"""The launchers: what a dry run prints is what runs; a run stopped early is started again."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from tests.launch_fakes import Fakes

LAUNCH = pathlib.Path(__file__).resolve().parents[1] / "launch"
LOCAL, TPU, SLURM, JOBSET = (
    LAUNCH / name for name in ("local_gpu.sh", "tpu_vm.sh", "slurm.sbatch", "k8s_jobset.yaml")
)
RUN = {"CONFIG": "configs/vit_linear.py:quick", "WORKDIR": "/runs/a b"}
SLICE = {"TPU_NAME": "lumbar", "TPU_ZONE": "us-west4-a"}
TYPE = {"TPU_TYPE": "v5litepod-16", "TPU_VERSION": "v2-alpha-tpuv5-lite"}
POD = {"NUM_PROCESSES": "2", "COORDINATOR_ADDRESS": "host:1", "JOB_COMPLETION_INDEX": "0"}
# Words that come apart when a quote is missing somewhere on the way.
ARGUMENTS = ["--config.optim.lr=3e-4", """--note=it's "two" $HOME words; *""", "--empty="]


def container() -> dict:
    jobset = yaml.safe_load(JOBSET.read_text())
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    return pod["containers"][0]


def command(path: pathlib.Path, *arguments: str) -> list[str]:
    start = container()["command"] if path == JOBSET else ["bash", str(path)]
    return [*start, *arguments]


@pytest.fixture
def fakes(tmp_path) -> Fakes:
    return Fakes(tmp_path)


@pytest.mark.parametrize("path", [LOCAL, TPU, SLURM], ids=lambda path: path.name)
def test_scripts_are_sound(path):
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    assert os.access(path, os.X_OK) == (path.suffix == ".sh")
    if shutil.which("shellcheck"):
        result = subprocess.run(["shellcheck", "--shell=bash", path])
        assert result.returncode == 0


@pytest.mark.parametrize("path", [LOCAL, TPU, SLURM, JOBSET], ids=lambda path: path.name)
def test_all_end_in_the_same_line(path):
    flag = "" if path == LOCAL else " --distributed"
    (line,) = re.findall(r"^\s*(python -m lumbarclip_jax.*?\"\$@\")", path.read_text(), re.M)
    assert line == (
        f'python -m lumbarclip_jax.main --config="$CONFIG" --workdir="$WORKDIR"{flag} "$@"'
    )


DRY_RUNS = [
    (
        command(LOCAL, "--config.optim.lr=3e-4"),
        ["env XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 JAX_COMPILATION_CACHE_DIR=/cache python"
         " -m lumbarclip_jax.main --config=configs/vit_linear.py:quick --workdir=/runs/a\\ b"
         " --config.optim.lr=3e-4"],
    ),
    (
        command(SLURM, "--config.optim.lr=3e-4"),
        ["env JAX_LOCAL_DEVICE_IDS=0\\,1\\,2\\,3\\,4\\,5\\,6\\,7 SRUN_CPUS_PER_TASK=32"
         " XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 JAX_COMPILATION_CACHE_DIR=/cache srun python"
         " -m lumbarclip_jax.main --config=configs/vit_linear.py:quick --workdir=/runs/a\\ b"
         " --distributed --config.optim.lr=3e-4"],
    ),
    (
        command(JOBSET, "--config.optim.lr=3e-4"),
        ["python -m lumbarclip_jax.main --config=configs/vit_linear.py:quick"
         " --workdir=/runs/a\\ b --distributed --coordinator_address=host:1 --num_processes=2"
         " --process_id=0 --config.optim.lr=3e-4"],
    ),
    (
        command(TPU, "create", "--spot"),
        ["gcloud compute tpus tpu-vm create lumbar --zone=us-west4-a"
         " --accelerator-type=v5litepod-16 --version=v2-alpha-tpuv5-lite --spot"],
    ),
    (
        command(TPU, "setup"),
        ["git archive --format=tar.gz --prefix=lumbarclip_jax/"
         " --output=/tmp/lumbarclip_jax.tar.gz HEAD",
         "gcloud compute tpus tpu-vm scp /tmp/lumbarclip_jax.tar.gz"
         " lumbar:lumbarclip_jax.tar.gz --zone=us-west4-a --worker=all",
         "gcloud compute tpus tpu-vm ssh lumbar --zone=us-west4-a --worker=all --command="
         "tar\\ -xzf\\ lumbarclip_jax.tar.gz\\ \\&\\&\\ cd\\ lumbarclip_jax\\ \\&\\&"
         "\\ PIP_BREAK_SYSTEM_PACKAGES=1\\ python3\\ -m\\ pip\\ install\\ --user\\ uv\\ \\&\\&"
         "\\ python3\\ -m\\ uv\\ venv\\ --clear\\ --python\\ 3.11\\ .venv\\ \\&\\&"
         "\\ python3\\ -m\\ uv\\ pip\\ install\\ \\'.\\[tpu\\]\\'"],
    ),
    (
        command(TPU, "run", "--config.optim.lr=3e-4"),
        ["gcloud compute tpus tpu-vm ssh lumbar --zone=us-west4-a --worker=all --command="
         "cd\\ lumbarclip_jax\\ \\&\\&\\ .\\ .venv/bin/activate\\ \\&\\&"
         "\\ env\\ JAX_COMPILATION_CACHE_DIR=/cache\\ python\\ -m\\ lumbarclip_jax.main"
         "\\ --config=configs/vit_linear.py:quick\\ --workdir=/runs/a\\\\\\ b\\ --distributed"
         "\\ --config.optim.lr=3e-4"],
    ),
    (
        command(TPU, "delete"),
        ["gcloud compute tpus tpu-vm delete lumbar --zone=us-west4-a"],
    ),
]  # fmt: skip
DRY_RUN_IDS = ["local", "slurm", "jobset", "create", "setup", "run", "delete"]


@pytest.mark.parametrize(("words", "lines"), DRY_RUNS, ids=DRY_RUN_IDS)
def test_dry_run_prints_the_commands_and_runs_nothing(fakes, words, lines):
    environment = RUN | SLICE | TYPE | POD | {"JAX_COMPILATION_CACHE_DIR": "/cache"}
    result = fakes.run(words, DRY_RUN="1", **environment)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == lines
    assert fakes.calls() == []


@pytest.mark.parametrize("words", [words for words, _ in DRY_RUNS], ids=DRY_RUN_IDS)
def test_what_runs_is_what_the_dry_run_printed(fakes, tmp_path, words):
    workdir = tmp_path / "run's folder"
    workdir.mkdir()
    environment = RUN | SLICE | TYPE | POD | {"WORKDIR": str(workdir), "FINISHES": "1"}
    words = [*words, *ARGUMENTS]
    printed = fakes.run(words, DRY_RUN="1", **environment).stdout
    assert fakes.run(["bash", "-c", printed], **environment).returncode == 0
    pasted = fakes.calls()
    assert fakes.run(words, **environment).returncode == 0
    real = fakes.calls()
    assert real == pasted
    if "setup" in words:
        assert [call[0] for call in real] == ["git", "gcloud", "gcloud"]
    else:
        assert real[-1][-len(ARGUMENTS) :] == ARGUMENTS
    if not {"create", "setup", "delete"} & set(words):
        config = ["--config=configs/vit_linear.py:quick", f"--workdir={workdir}"]
        assert real[-1][:5] == ["python", "-m", "lumbarclip_jax.main", *config]


@pytest.mark.parametrize(
    ("words", "missing", "sentence"),
    [
        (command(LOCAL), "CONFIG", "set CONFIG to the run file"),
        (command(LOCAL), "WORKDIR", "set WORKDIR to the folder of this run"),
        (command(SLURM), "CONFIG", "set CONFIG to the run file"),
        (command(SLURM), "WORKDIR", "set WORKDIR to a folder that all nodes share"),
        (command(JOBSET), "CONFIG", "set CONFIG in the env of the container"),
        (command(JOBSET), "WORKDIR", "set WORKDIR in the env of the container"),
        (command(JOBSET), "JOB_COMPLETION_INDEX", "set JOB_COMPLETION_INDEX in the env"),
        (command(TPU), "", "say what to do: launch/tpu_vm.sh create, setup, run or delete"),
        (command(TPU, "start"), "", "say what to do: launch/tpu_vm.sh create, setup, run or"),
        (command(TPU, "delete"), "TPU_NAME", "set TPU_NAME to the name of the TPU VM"),
        (command(TPU, "setup"), "TPU_ZONE", "set TPU_ZONE to its zone"),
        (command(TPU, "create"), "TPU_TYPE", "set TPU_TYPE to the accelerator type"),
        (command(TPU, "create"), "TPU_VERSION", "set TPU_VERSION to the runtime version"),
        (command(TPU, "run"), "CONFIG", "set CONFIG to the run file"),
        (command(TPU, "run"), "WORKDIR", "set WORKDIR to a folder that all hosts share"),
    ],
)
def test_what_is_missing_is_named(fakes, words, missing, sentence):
    environment = RUN | SLICE | TYPE | POD
    environment.pop(missing, None)
    result = fakes.run(words, **environment)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {sentence}")
    assert len(result.stderr.splitlines()) == 1
    assert fakes.calls() == []


def test_a_bucket_is_not_a_folder(fakes):
    result = fakes.run(command(TPU, "run"), **RUN | SLICE | {"WORKDIR": "gs://bucket/x"})
    assert result.returncode == 2
    assert result.stderr == (
        "error: WORKDIR=gs://bucket/x is an address: mount it, and give the folder\n"
    )


def test_environment_of_training(fakes, tmp_path):
    environment = RUN | SLICE | {"WORKDIR": str(tmp_path), "FINISHES": "1"}
    cache = f"{tmp_path}/.cache/lumbarclip_jax/xla"
    fakes.run(command(LOCAL), **environment)
    assert fakes.environment() == {"mem": "0.9", "cache": cache, "gpus": "", "cpus": ""}
    fakes.run(command(SLURM), SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="6", **environment)
    assert fakes.environment() == {"mem": "0.9", "cache": cache, "gpus": "0,1,2,3", "cpus": "6"}
    fakes.run(command(TPU, "run"), **environment)
    assert fakes.environment() == {"mem": "", "cache": ".cache/xla", "gpus": "", "cpus": ""}
    own = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5", "JAX_COMPILATION_CACHE_DIR": "/c"}
    fakes.run(command(LOCAL), **environment, **own)
    assert fakes.environment() == {"mem": "0.5", "cache": "/c", "gpus": "", "cpus": ""}


def test_slurm_options():
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", SLURM.read_text(), re.M))
    assert (options["signal"], options["requeue"]) == ("B:TERM@120", "")
    assert (options["ntasks-per-node"], options["open-mode"]) == ("1", "append")
    # What the dry run shows without Slurm is what these options give.
    assert f"SLURM_GPUS_ON_NODE:-{options['gpus-per-node']}}}" in SLURM.read_text()
    assert f"SLURM_CPUS_PER_TASK:-{options['cpus-per-task']}}}" in SLURM.read_text()


@pytest.mark.parametrize("signalled", [False, True])
@pytest.mark.parametrize(
    ("ending", "status", "again"),
    [({}, 0, True), ({"FINISHES": "1"}, 0, False), ({"STATUS": "2"}, 2, False)],
    ids=["early", "finished", "failed"],
)
def test_slurm_requeues_a_run_that_stopped_early(fakes, tmp_path, ending, status, again, signalled):
    environment = RUN | {"WORKDIR": str(tmp_path), "SLURM_JOB_ID": "77"} | ending
    start = fakes.run_and_terminate if signalled else fakes.run
    result = start(command(SLURM), **environment)
    assert (result if signalled else result.returncode) == status
    assert [call for call in fakes.calls() if call[0] in ("scancel", "scontrol")] == (
        [["scancel", "--signal=TERM", "77"]] * signalled + [["scontrol", "requeue", "77"]] * again
    )


@pytest.mark.parametrize("signalled", [False, True])
@pytest.mark.parametrize(
    ("ending", "index", "status"),
    [
        ({}, "0", 75),
        ({}, "1", 0),
        ({"FINISHES": "1"}, "0", 0),
        ({"STATUS": "2"}, "0", 2),
    ],
    ids=["early", "early-other-process", "finished", "failed"],
)
def test_a_pod_that_stopped_early_is_no_success(fakes, tmp_path, ending, index, status, signalled):
    environment = RUN | POD | {"WORKDIR": str(tmp_path), "JOB_COMPLETION_INDEX": index} | ending
    start = fakes.run_and_terminate if signalled else fakes.run
    result = start(command(JOBSET), **environment)
    assert (result if signalled else result.returncode) == status


def test_local_script_hands_the_signal_to_training(fakes, tmp_path):
    assert fakes.run_and_terminate(command(LOCAL), **RUN | {"WORKDIR": str(tmp_path)}) == 0
