"""The commands of ahead-of-time compilation: rows, the table of them, real compilations."""

import dataclasses
import importlib.util
import json
import pathlib
import subprocess
import sys

import jax
import pytest

from configs import vit_linear
from lumbarclip_jax.bench import absent, aot, aot_page, aot_table, compile_step
from lumbarclip_jax.bench.aot_rows import Step, file_name, guess_too_large, step_of
from lumbarclip_jax.bench.chips import GIB, GPUS

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def row_of(step: Step, fits: bool, needed_gib: float) -> dict:
    """A row as `compile_step` returns it, with round figures."""
    chips = 256 if step.topology == "v5e:16x16" else 16
    row = {
        "config": step.config,
        "topology": step.topology,
        "chips": chips,
        "global_batch_size": step.global_batch_size,
        "pairs_per_chip": step.global_batch_size // chips,
        "options": {
            "remat": True,
            "dtype": "bfloat16",
            "accumulation_steps": step.accumulation_steps,
        },
        "fits": fits,
        "memory": {"hbm_bytes": 16 * GIB, "needed_bytes": round(needed_gib * GIB)},
        "flops": {"model": 6e14, "loss": 1e12, "remat": 2e14, "accumulation": 0.0},
        "compile": {"lower_s": 1.0, "wall_s": 14.2, "cpu_s": 24.6, "effort": step.effort},
        "versions": {"jax": "0.10.2", "libtpu": "0.0.42.1"},
    }
    if not fits:
        return row
    return row | {
        "collectives": {
            "all-reduce": {"count": 52, "bytes": 436_830_728, "sent_bytes": 819_057_615}
        },
        "loops_of_unknown_length": 0,
        "roofline": {
            "compute_s": 8e14 / chips / 197e12,
            "hbm_s": 0.1,
            "ici_s": 0.01,
            "step_s": 8e14 / chips / 197e12,
            "limit": "compute",
            "hbm_traffic_bytes": 8e10,
            "pairs_per_s": 16_138.2,
        },
    }


@pytest.mark.parametrize(
    ("message", "lacking"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (17.31G) exceeds available HBM (15.75G).",
            {"hbm_bytes": round(15.75 * GIB), "needed_bytes": round(17.31 * GIB)},
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 19.25G of 15.75G hbm. "
            "Exceeded hbm capacity by 3.50G.",
            {"hbm_bytes": round(15.75 * GIB), "needed_bytes": round(19.25 * GIB)},
        ),
        ("INTERNAL: Mosaic failed to compile", None),
    ],
)
def test_lacking_memory_is_read_from_the_compilers_message(message, lacking):
    assert compile_step.lacking_memory(message) == lacking


def test_a_step_that_only_the_compilers_own_share_keeps_out_does_not_fit(monkeypatch):
    class Lowered:
        def compile(self, compiler_options):
            raise jax.errors.JaxRuntimeError(
                "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
                "temporaries (31.35G) exceeds available HBM (30.75G)."
            )

    monkeypatch.setattr(compile_step, "devices_of", lambda topology: jax.devices()[:1])
    monkeypatch.setattr(compile_step, "compiler", lambda topology: {"stand-in": "1"})
    monkeypatch.setattr(compile_step, "_lower", lambda *arguments: Lowered())
    config = vit_linear.get_config("quick")
    config.data.global_batch_size = 8
    row = compile_step.compile_step(config, "v4:1x1x1", 100)
    assert not row["fits"]
    assert "roofline" not in row
    assert aot.summary(row)[1] == "DOES NOT FIT: 31.35 GiB a chip of 30.75 GiB"


@pytest.mark.parametrize(("topology", "extra"), [("v5e:2x2", "tpu-aot"), ("h200:8", "cuda13")])
def test_without_its_compiler_the_extra_is_named(topology, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"pip install 'lumbarclip_jax\[{extra}\]'"):
        absent.devices_of(topology)


@pytest.mark.parametrize("count", ["4x4", "0", "-1"])
def test_what_is_no_number_of_gpus_is_refused(count, monkeypatch):
    monkeypatch.setattr(absent, "compiler", lambda topology: {})
    with pytest.raises(ValueError, match=f"'{count}' is no number of GPUs: write h200:8"):
        absent.devices_of(f"h200:{count}")


def test_a_gpu_has_no_efforts():
    with pytest.raises(ValueError, match="--effort is -1: only the TPU compiler knows efforts"):
        compile_step.compile_step(vit_linear.get_config("quick"), "h200:1", 100, effort=-1.0)


@pytest.mark.slow
@pytest.mark.parametrize("fits", [True, False])
def test_a_step_that_is_larger_than_a_gpu_does_not_fit(fits, monkeypatch):
    """The GPU compiler makes it all the same. Here the one of the CPU stands for it."""
    gpu = dataclasses.replace(GPUS["h200"], hbm_bytes=GIB if fits else 1_000_000)
    monkeypatch.setattr(compile_step, "chip_of", lambda topology: gpu)
    monkeypatch.setattr(compile_step, "devices_of", lambda topology: jax.devices()[:1])
    monkeypatch.setattr(compile_step, "compiler", lambda topology: {"stand-in": "1"})
    config = vit_linear.get_config("quick")
    config.data.global_batch_size = 8
    row = compile_step.compile_step(config, "h200:1", 100)
    assert row["fits"] == fits
    assert ("roofline" in row) == fits
    assert 1_000_000 < row["memory"]["needed_bytes"] < GIB
    assert row["versions"]["stand-in"] == "1"
    verdict = aot.summary(row)[1]
    assert verdict.startswith("fits: 0." if fits else "DOES NOT FIT: 0.")


def test_every_step_has_a_file_of_its_own_and_is_found_again_in_its_row():
    steps = [
        Step("vit_linear", "v5e:4x4", 4096),
        Step("vit_linear", "v5e:16x16", 4096),
        Step("vit_linear", "v5e:4x4", 4096, effort=0.0),
        Step("vit_linear", "v5e:4x4", 4096, accumulation_steps=16),
        Step("vit_mlp", "v5e:4x4", 4096),
    ]
    assert len({file_name(step) for step in steps}) == len(steps)
    assert [step_of(row_of(step, True, 1.0)) for step in steps] == steps


def test_the_first_batch_that_should_not_fit_is_extrapolated():
    # 14.5 MiB a pair from 6.5 GiB at 256 pairs: 16 GiB hold 926 pairs.
    small = row_of(Step("vit_linear", "v5e:4x4", 4096), True, 6.5)
    large = row_of(Step("vit_linear", "v5e:4x4", 32768), False, 6.5 + 1792 * 14.5 / 1024)
    assert guess_too_large(small, large) == 1024


class FakeRows:
    """Rows of steps that need memory in proportion to their pairs, without a compiler."""

    def __init__(self, bytes_a_pair: float):
        self.bytes_a_pair = bytes_a_pair
        self.steps = []

    def get(self, step: Step) -> dict:
        if step not in self.steps:
            self.steps.append(step)
        chips = aot_table.TOPOLOGIES[step.topology].chips
        pairs = step.global_batch_size / chips / step.accumulation_steps
        needed = 1 + pairs * self.bytes_a_pair / GIB
        row = row_of(step, needed < 15.75, needed)
        return row | {"chips": chips, "pairs_per_chip": step.global_batch_size // chips}


def test_the_table_brackets_the_largest_batch_of_each_config_and_slice():
    rows = FakeRows(bytes_a_pair=2**24)  # 944 pairs a chip fit
    made = [step_of(row) for row in aot_table.compile_all(rows)]
    assert made[0] == Step("vit_linear", "v5e:16x16", 2**20, accumulation_steps=16)
    largest = [step for step in rows.steps if step.topology == "v5e:4x4"]
    tried = {s.global_batch_size for s in largest if s.config == "swin_mlp"}
    assert tried == {4096, 32768, 16 * 512, 16 * 1024}
    # All configs at the smaller batch come before any at the larger.
    sizes = [step.global_batch_size for step in made if step.effort == -1 and step != made[0]]
    assert sizes[1 : 1 + 60] == [4096] * 30 + [32768] * 30


def test_a_row_that_is_there_is_not_compiled_again(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("compiled"))
    step = Step("vit_linear", "v5e:4x4", 4096)
    rows = aot_table.Rows(tmp_path, pathlib.Path("configs"))
    (tmp_path / file_name(step)).write_text(json.dumps(row_of(step, True, 6.5)))
    assert rows.get(step)["memory"]["needed_bytes"] == 6.5 * GIB


def test_the_page_shows_what_fits_what_does_not_and_what_is_largest():
    page = aot_page.render(
        [
            row_of(Step("vit_linear", "v5e:4x4", 4096), True, 6.5),
            row_of(Step("vit_linear", "v5e:4x4", 8192), True, 11.0),
            row_of(Step("vit_linear", "v5e:4x4", 16384), False, 17.31),
            row_of(Step("vit_linear", "v5e:16x16", 2**20, accumulation_steps=16), True, 9.0),
            row_of(Step("vit_linear", "v5e:4x4", 4096, effort=0.0), True, 6.6),
        ]
    )
    assert "All rows: remat True, dtype bfloat16." in page
    assert "Compiled with jax 0.10.2, libtpu 0.0.42.1." in page
    assert "## v5e-16: 16 chips, v5e:4x4" in page
    assert (
        "| vit_linear | 4,096 | 256 | 6.5 of 16 | 600 | 33% | 253.8 | compute | 16,138 | 75% "
        "| none | 52 ×, 436.8 MB | none | 25 |" in page
    )
    assert "| vit_linear | 8,192, largest | 512 | 11.0 of 16 |" in page
    assert "| vit_linear | 16,384 | 1,024 | **does not fit**: 17.3 of 16 |" in page
    assert "| 16 on v5e:16x16 | vit_linear | 1,048,576 | 4,096 |" in page
    efforts = page.partition("## What the compiler's effort changes")[2]
    assert "| -1 | v5e:4x4 | vit_linear | 4,096 | 256 | 6.5 of 16 |" in efforts
    assert "| 0 | v5e:4x4 | vit_linear | 4,096 | 256 | 6.6 of 16 |" in efforts


def run_aot(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lumbarclip_jax.bench.aot", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)


def test_a_chip_that_is_not_known_is_one_sentence():
    done = run_aot("--config=configs/vit_linear.py", "--topology=h300:8")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --topology='h300:8' is not one of v4, v5e, v5p, v6e, a100, h100, h200 and a shape: "
        "write v5e:4x4 or h200:8"
    ]


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="libtpu is not installed")
def test_a_small_step_compiles_for_a_tpu(tmp_path):
    done = run_aot(
        "--config=configs/vit_linear.py:quick",
        "--topology=v5e:2x2",
        "--global_batch_size=32",
        "--vocab_size=100",
        "--effort=-1",
        "--config.model.scan_layers=True",
        "--config.model.remat=True",
        f"--out={tmp_path / 'row.json'}",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "fits:" in done.stdout
    row = json.loads((tmp_path / "row.json").read_text())
    assert (row["chips"], row["pairs_per_chip"], row["options"]["dtype"]) == (4, 8, "bfloat16")
    assert row["fits"]
    assert 0 < row["memory"]["arguments_bytes"] < row["memory"]["needed_bytes"] < GIB
    assert row["loops_of_unknown_length"] == 0
    # The embeddings of 32 pairs, 128 float32 features each, of both sides.
    assert row["collectives"]["all-gather"] == {
        "count": 2,
        "bytes": 2 * 32 * 128 * 4,
        "sent_bytes": 2 * 32 * 128 * 3,
    }
    assert aot_page.render([row | {"config": "vit_linear", "topology": "v5e:4x4"}])


@pytest.mark.skipif(
    not any(map(importlib.util.find_spec, absent.CUDA_PLUGINS)), reason="no CUDA plugin installed"
)
def test_a_small_step_compiles_for_gpus(tmp_path):
    done = run_aot(
        "--config=configs/vit_linear.py:quick",
        "--topology=a100:2",
        "--global_batch_size=32",
        "--vocab_size=100",
        f"--out={tmp_path / 'row.json'}",
    )
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "row.json").read_text())
    assert (row["chips"], row["pairs_per_chip"], row["options"]["dtype"]) == (2, 16, "bfloat16")
    assert row["fits"]
    assert 0 < row["memory"]["arguments_bytes"] < row["memory"]["needed_bytes"] < GIB
    assert row["collectives"]["all-reduce"]["count"] > 0
    assert 0 < row["roofline"]["hbm_s"] < 1e-3
