"""Test set-up: eight fake CPU devices, no silent rank promotion, one compilation cache."""

import os
import pathlib
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import jax
import jaxtyping
import pytest

# These rooms are held to their annotations under test, from before they are first imported. To
# beartype an int is a float then, as it is to Python's type checkers. Not yet images, models and
# training, whose callers also hand over arrays of NumPy.
SHAPED = [f"lumbarclip_jax.{room}" for room in ("finetune.imbalance", "losses")]
jaxtyping.install_import_hook(
    SHAPED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

from tests import data_prep_cohort as cohort  # noqa: E402
from tests import tiny_runs  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_compilation_cache_dir", str(pathlib.Path(tempfile.gettempdir()) / "lumbarclip_jax_tests")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of the published cohort beside the repository; the test is skipped without it."""
    folder = REPOSITORY.parent / "shared" / "data" / "lumbar_mri"
    if not folder.is_dir():
        pytest.skip("the real cohort is not beside this repository")
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory) -> pathlib.Path:
    """A built data set of 24 made-up patients, 72 slices of 32 x 32 px, all three splits."""
    return cohort.tiny_set(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset, tmp_path_factory):
    """A run folder with a checkpoint of random weights, as a `Run`."""
    folder = tmp_path_factory.mktemp("tiny_run")
    return tiny_runs.write_run(folder, tiny_runs.tiny_config(tiny_dataset))


@pytest.fixture
def annotations_off():
    """Calls as in production: what breaks its annotation meets the package's own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
