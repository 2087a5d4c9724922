"""The comparison with PyTorch: its arithmetic, its page, its processes and its errors."""

import contextlib
import importlib.util
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import base, vit_linear
from lumbarclip_jax.bench.compare import page, rows
from lumbarclip_jax.bench.compare.jax_side import JaxSide
from lumbarclip_jax.bench.compare.options import Options, batches, load_config, prepared
from lumbarclip_jax.bench.compare.pair import check_agreement, compare
from lumbarclip_jax.bench.compare.worker import Worker

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def test_the_ratio_is_the_median_over_pairs_of_turns():
    # A machine that gets three times slower half-way changes both turns of a pair.
    found = rows.ratio([1.0, 1.1, 3.0, 3.3, 3.0], [2.0, 2.0, 6.0, 6.0, 5.0])
    assert found["median"] == pytest.approx(0.55)
    assert found["low"] == pytest.approx(0.5)
    assert found["high"] == pytest.approx(0.6)


def test_the_interval_of_equal_ratios_is_a_point_and_of_spread_ones_is_not():
    assert rows.ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0]) == {"median": 2, "low": 2, "high": 2}
    spread = rows.ratio(list(range(1, 102)), [1.0] * 101)
    assert spread["median"] == 51
    # Order statistics 41 and 61 of 101: binomial, 95 %.
    assert spread["low"] == pytest.approx(41, abs=2)
    assert spread["high"] == pytest.approx(61, abs=2)


def test_losses_that_agree_pass_and_the_first_that_part_are_named():
    check_agreement("vit_linear", {"JAX": [2.0, 2.0001], "PyTorch": [2.0, 2.0]})
    losses = {"JAX": [2.0, 2.002, 9.0], "PyTorch": [2.0, 2.0, 2.0]}
    with pytest.raises(ValueError, match=r"vit_linear part at step 1: JAX 2\.00.*1\.0e-03 of"):
        check_agreement("vit_linear", losses)
    with pytest.raises(ValueError, match="part at step 0: JAX nan"):
        check_agreement("vit_linear", {"JAX": [float("nan")], "PyTorch": [2.0]})
    # Later steps may part: rounding grows with every update.
    check_agreement("vit_linear", {"JAX": [2.0] * 20 + [9.0], "PyTorch": [2.0] * 21})


def test_every_process_makes_the_same_batches():
    config = base.get_config()
    config.data.max_tokens = 16
    options = Options(batch_size=3, vocab_size=20, stored_size_px=8)
    all_three = list(batches(config, options, 0, 3))
    later = list(batches(config, options, 1, 2))
    for expected, actual in zip(all_three[1:], later, strict=True):
        for name, array in expected.items():
            np.testing.assert_array_equal(actual[name], array)
    assert not np.array_equal(all_three[0]["images"], all_three[1]["images"])
    first = all_three[0]
    assert first["images"].shape == (3, 1, 8, 8, 1)
    assert first["images"].dtype == np.uint8
    assert first["input_ids"].max() < 20
    lengths = first["attention_mask"].sum(axis=-1)
    assert ((lengths >= 4) & (lengths <= 16)).all()
    assert not first["input_ids"][first["attention_mask"] == 0].any()


def test_chance_is_off_unless_asked_for():
    config = vit_linear.get_config()
    exact = prepared(config, Options(batch_size=5))
    assert exact.data.global_batch_size == 5
    assert exact.model.projection.dropout == exact.data.augment.noise == 0.0
    as_trained = prepared(config, Options(is_random=True))
    assert as_trained.model.projection.dropout == 0.1
    assert config.data.augment.noise == as_trained.data.augment.noise == 0.02


def test_what_the_pytorch_side_lacks_is_refused():
    config = vit_linear.get_config()
    config.data.augment.rotate_deg = 5.0
    assert prepared(config, Options()).data.augment.rotate_deg == 0.0
    config.model.text_encoder.pool_layers = (1, -1)
    config.model.feature_dim = 8
    lacks = r"feature_dim=8, model\.text_encoder\.pool_layers=\(1, -1\)"
    with pytest.raises(ValueError, match=f"vit_linear cannot be compared.*{lacks}"):
        prepared(config, Options())
    with pytest.raises(ValueError, match=f"{lacks}, data\\.augment\\.rotate_deg=5"):
        prepared(config, Options(is_random=True))


def test_run_files_are_read_with_their_form_and_a_missing_one_is_named():
    assert load_config("configs/vit_linear.py:quick").name == "vit_linear_quick"
    with pytest.raises(FileNotFoundError, match=r"no config file configs/vit\.py: run files are"):
        load_config("configs/vit.py")


def row_of(config: str = "vit_linear", **changes) -> dict:
    return {
        "config": config,
        "device": "cpu",
        "dtype": "float32",
        "batch_size": 8,
        "is_random": False,
        "steps_per_turn": 1,
        "torch_compile": "off",
        "image_size_px": 224,
        "max_tokens": 128,
        "agreement": {
            "losses": {"JAX": [2.07944, 2.1], "PyTorch": [2.07945, 2.1]},
            "largest_difference": 4.8e-6,
            "tolerance": 1e-4,
        },
        "step_s": {"JAX": [8.0, 4.0, 2.0, 6.0], "PyTorch": [4.0, 4.0, 4.0, 4.0]},
        "ratio": {"median": 1.25, "low": 0.9, "high": 1.6},
        "peak_bytes": {"JAX": 3 * 2**30, "PyTorch": 5 * 2**29},
        "compile": {
            "JAX": {"trace_s": 2.0, "compile_s": 18.0},
            "JAX warm": {"trace_s": 2.0, "compile_s": 1.0},
            "PyTorch": {"first_step_s": 0.5},
        },
        "versions": {"jax": "0.10.2", "torch": "2.13.0"},
        "machine": {
            "processor": "Xeon",
            "cores": 2,
            "accelerator": "",
            "matrix_library": "MKL for Intel",
            "load_average": 0.4,
            "date": "2026-11-22",
        },
    } | changes


def test_the_page_shows_the_rows_and_says_what_was_not_measured():
    text = page.render([row_of(), row_of(batch_size=16), row_of("swin_mlp", is_random=True)])
    cpu, gpu = text.split("## CPU")[1].split("## NVIDIA GPU")
    assert (
        "| vit_linear | float32 | 8 | **1.25** [0.90, 1.60] | 5,000 | 4,000 | 1.6 | 5e-06 "
        "| 3.00 | 2.50 | 2.0 | 18.0 | 1.0 (6%) | 0.5 |" in cpu
    )
    assert "| vit_linear | float32 | 16 |" in cpu
    unchecked = row_of()["agreement"] | {"tolerance": None}
    assert "| 5e-06, not checked |" in page.render([row_of(agreement=unchecked)])
    assert "| swin_mlp | float32, random | 8 |" in cpu
    assert cpu.count("not measured") == 4
    assert gpu.count("not measured") == 6
    assert "- Xeon, 2 cores\n" in cpu
    assert "load average before measuring 0.4 to 0.4" in cpu
    assert "| step | vit_linear JAX | vit_linear PyTorch | swin_mlp JAX | swin_mlp PyTorch |" in cpu
    assert "| 0 | 2.07944 | 2.07945 |" in cpu
    assert page.render([]).count("not measured") == 12


def test_a_row_replaces_that_of_the_same_kind_only(tmp_path):
    gpu = row_of()["machine"] | {"accelerator": "NVIDIA H100 80GB HBM3", "matrix_library": ""}
    on_gpu = row_of(dtype="bfloat16", device="cuda", machine=gpu)
    for row in (row_of(), row_of(batch_size=16), on_gpu, row_of()):
        rows.save(row, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "vit_linear-cpu-xeon_mkl_for_intel-float32-b16-224px.json",
        "vit_linear-cpu-xeon_mkl_for_intel-float32-b8-224px.json",
        "vit_linear-cuda-nvidia_h100_80gb_hbm3-bfloat16-b8-224px.json",
    ]
    assert row_of() in rows.load_all(tmp_path)


def fake_worker(**options) -> Worker:
    sides = {"fake": "tests.fake_sides:FakeSide"}
    return Worker("fake", base.get_config(), Options(**options), "the cache", sides=sides)


def test_a_worker_answers_explains_and_survives_what_it_could_not_do():
    with fake_worker(seed=5) as worker:
        assert worker("add", 1, 2) == ("base", 8)
        assert worker("environment", "JAX_COMPILATION_CACHE_DIR") == "the cache"
        assert worker("environment", "JAX_PLATFORMS") == "cpu"
        with pytest.raises(ValueError, match=r"^the extra is not installed$"):
            worker("explain")
        with pytest.raises(RuntimeError, match=r"(?s)fake process failed in 'crash'.*a bug"):
            worker("crash")
        assert worker("add", 0, 0) == ("base", 5)
    assert not worker.process.is_alive()


def test_a_worker_that_dies_is_an_error_and_not_a_wait():
    with (
        fake_worker() as worker,
        pytest.raises(RuntimeError, match="fake process ended with status 3 in 'vanish'"),
    ):
        worker("vanish")


def test_a_worker_is_gone_after_an_error_here():
    with contextlib.suppress(ZeroDivisionError), fake_worker() as worker:
        worker("add", 0, 0)
        raise ZeroDivisionError
    assert worker.process.exitcode == 0


def test_the_command_without_a_config_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "lumbarclip_jax.bench.compare", f"--out={tmp_path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == (
        "error: nothing to measure: pass --config=configs/vit_linear.py or --all\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_both_sides_run_in_processes_of_their_own_and_make_a_row():
    config = vit_linear.get_config("quick")
    config.data.update(image_size_px=16, crop_px=16, max_tokens=8)
    config.model.embed_dim = 8
    sizes = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 16}
    config.model.image_encoder.sizes = sizes | {"patch_size": 8}
    config.model.text_encoder.sizes = sizes
    options = Options(batch_size=4, steps=4, steps_per_turn=2, vocab_size=20, stored_size_px=16)
    row = compare(config, options)
    assert len(row["agreement"]["losses"]["JAX"]) == len(row["agreement"]["losses"]["PyTorch"]) == 6
    assert row["agreement"]["largest_difference"] <= 1e-5
    assert {name: len(times) for name, times in row["step_s"].items()} == {"JAX": 2, "PyTorch": 2}
    assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    assert all(2**25 < peak < 2**33 for peak in row["peak_bytes"].values())
    assert row["compile"]["JAX"].keys() == row["compile"]["JAX warm"].keys()
    assert "| vit_linear | float32 | 4 | **" in page.render([row | {"config": "vit_linear"}])


def test_a_device_that_jax_has_not_is_named(monkeypatch):
    def devices():
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(ValueError, match="--device=cuda: JAX sees none; install its CUDA build"):
        JaxSide(base.get_config(), Options(device="cuda"))
