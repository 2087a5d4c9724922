"""The import rules: who may know whom."""

import ast
import pathlib

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
ACCELERATOR = {"jax", "flax", "optax", "orbax"}


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names a file imports, `from a import b` as a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(folder: str) -> list[pathlib.Path]:
    found = sorted((REPOSITORY / folder).rglob("*.py"))
    assert found, f"no files in {folder}"
    return found


def offenders(paths, is_forbidden) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if is_forbidden(name)
    ]


def root(name: str) -> str:
    return name.split(".")[0]


def test_configs_are_plain_data():
    allowed = {"math", "ml_collections", "configs"}
    assert not offenders(files("configs"), lambda name: root(name) not in allowed)


def test_the_package_knows_no_configs_launchers_or_tests():
    forbidden = {"configs", "launch", "tests"}
    assert not offenders(files("lumbarclip_jax"), lambda name: root(name) in forbidden)


def test_only_main_builds_data_sets_and_only_inference_reads_pictures():
    # inference.py reads a user's pictures with the very code that made the training data's.
    others = [p for p in files("lumbarclip_jax") if p.name not in ("main.py", "inference.py")]
    # How commands begin and end, write files and hear signals has one owner, and so has the seal
    # of a data set.
    shared = tuple(
        f"data_prep.{name}" for name in ("child_processes", "cli", "files", "manifest", "signals")
    )
    assert not offenders(
        others, lambda name: root(name) == "data_prep" and not name.startswith(shared)
    )


def test_data_prep_stands_alone():
    assert not offenders(files("data_prep"), lambda name: root(name) == "lumbarclip_jax")


@pytest.mark.parametrize("folder", ["data_prep", "lumbarclip_jax/data"])
def test_data_code_never_touches_a_device(folder):
    assert not offenders(files(folder), lambda name: root(name) in ACCELERATOR)


def test_only_models_and_sharding_use_flax():
    package = REPOSITORY / "lumbarclip_jax"
    others = [
        path
        for path in files("lumbarclip_jax")
        if package / "models" not in path.parents and path != package / "sharding.py"
    ]
    assert not offenders(others, lambda name: root(name) == "flax")


def test_losses_know_only_arrays():
    allowed = {
        "jax",
        "jaxtyping",
        "numpy",
        "math",
        "functools",
        "typing",
        "dataclasses",
        "collections",
    }
    assert not offenders(
        files("lumbarclip_jax/losses"),
        lambda name: root(name) not in allowed and not name.startswith("lumbarclip_jax.losses"),
    )


def test_evaluators_know_no_training_code():
    forbidden = ("train", "train_step", "optim", "checkpoints", "losses", "models", "run")
    assert not offenders(
        files("lumbarclip_jax/evaluators"),
        lambda name: name.startswith("lumbarclip_jax.") and name.split(".")[1] in forbidden,
    )


def test_private_names_stay_in_their_module():
    own = {"lumbarclip_jax", "data_prep", "configs"}
    paths = files("lumbarclip_jax") + files("data_prep") + files("tests")
    assert not offenders(
        paths, lambda name: root(name) in own and name.split(".")[-1].startswith("_")
    )


def test_nothing_pickles_or_downloads_tensorflow():
    forbidden = {"pickle", "tensorflow", "clu", "dill", "joblib"}
    paths = files("lumbarclip_jax") + files("data_prep")
    assert not offenders(paths, lambda name: root(name) in forbidden)


def test_files_stay_short():
    paths = files("lumbarclip_jax") + files("data_prep") + files("configs") + files("tests")
    long = {str(p): n for p in paths if (n := len(p.read_text().splitlines())) > 300}
    assert not long
