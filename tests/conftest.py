"""Test set-up: eight fake CPU devices, no silent rank promotion, one compilation cache."""

import os
import pathlib
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        # Most of what tests do is to compile, which so takes two thirds of the time.
        "--xla_backend_optimization_level=0",
        "--xla_force_host_platform_device_count=8",
        os.environ.get("XLA_FLAGS", ""),  # `.ci/run` takes some once more at 3, as runs have it
    ]
)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import jax
import pytest

# annotations before what imports the package, which is checked from its first import on.
from tests import annotations, tiny_runs
from tests import data_prep_cohort as cohort

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_compilation_cache_dir", str(pathlib.Path(tempfile.gettempdir()) / "lumbarclip_jax_tests")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of the published cohort beside the repository; the test is skipped without it."""
    return _shared("lumbar_mri")


@pytest.fixture(scope="session")
def real_spider() -> pathlib.Path:
    """The folder of SPIDER's sagittal pictures; the test is skipped without it."""
    return _shared("spider_sagittal")


def _shared(name: str) -> pathlib.Path:
    folder = REPOSITORY.parent / "shared" / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the real {name} is not beside this repository")
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> pathlib.Path:
    """A built data set of 24 made-up patients, 72 slices of 32 x 32 px, all three splits."""
    return cohort.tiny_set(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def labelled_dataset(tmp_path_factory) -> pathlib.Path:
    """`tiny_dataset` with tasks of its own and further texts."""
    return cohort.labelled_set(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset, tmp_path_factory):
    """A run folder with a checkpoint of random weights, as a `Run`."""
    folder = tmp_path_factory.mktemp("tiny_run")
    return tiny_runs.write_run(folder, tiny_runs.tiny_config(tiny_dataset))


@pytest.fixture(scope="module")
def plain_page():
    """Runs that end leave a page without figures: half of a tiny run's time."""
    from lumbarclip_jax import train  # not above: the package comes after `annotations`

    def write(folder: pathlib.Path, examples) -> pathlib.Path:
        del examples
        (folder / "report.html").write_text("a page")
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "write_report", write)
        patch.setattr(train, "find_examples", lambda *arguments: None)
        yield


@pytest.fixture
def annotations_off():
    with annotations.off():
        yield
