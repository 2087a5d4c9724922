"""The import rules: who may know whom. Rules name packages, and a package that is gone fails."""

import ast
import collections
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
ACCELERATOR = ("jax", "flax", "optax", "orbax")
# Variants of reports, since what measures with them and what writes them must choose alike.
DATA_PREP_ROOMS = tuple(f"data_prep.{room}" for room in ("cli", "process", "records", "variants"))
# From what knows nothing of the others to what knows them all; each imports from those before it.
ORDER = {
    "data_prep": "process cli tables records text images slices sources label_reports variants "
    "build verify audit make_alignment spider_table phantom make_phantom bench",
    "lumbarclip_jax": "process images sharding xla_cpu losses data objectives evaluators models "
    "training run_folder loop report inference finetune classifier export evaluate paired train "
    "main sweep authors_protocol bench",
}


def imports(path: pathlib.Path) -> set[str]:
    """Dotted names a file imports, `from a import b` as a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files(package: str) -> list[pathlib.Path]:
    """Those of a package or module, by its dotted name."""
    place = REPOSITORY.joinpath(*package.split("."))
    found = sorted(place.rglob("*.py")) or [place.with_suffix(".py")]
    assert all(path.is_file() for path in found), f"there is no {package}"
    return found


def is_in(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of these packages, or in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def existing(*packages: str) -> tuple[str, ...]:
    """The names as they are, once it is sure that each is something: else a rule goes quiet."""
    assert all(files(package) for package in packages)
    return packages


def offenders(paths, is_forbidden) -> list[str]:
    return [
        f"{path.relative_to(REPOSITORY)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if is_forbidden(name)
    ]


def test_configs_are_plain_data():
    assert not offenders(
        files("configs"), lambda name: not is_in(name, "math", "ml_collections", "configs")
    )


def test_the_packages_know_no_configs_launchers_or_tests():
    paths = files("lumbarclip_jax") + files("data_prep")
    assert not offenders(paths, lambda name: is_in(name, "configs", "launch", "tests"))


def test_only_main_builds_data_sets_and_only_inference_reads_pictures():
    # inference.py reads a user's pictures with the very code that made the training data's.
    apart = {"lumbarclip_jax/main.py", "lumbarclip_jax/inference.py"}
    others = [
        path
        for path in files("lumbarclip_jax")
        if path.relative_to(REPOSITORY).as_posix() not in apart
    ]
    assert len(others) == len(files("lumbarclip_jax")) - len(apart)
    shared = existing(*DATA_PREP_ROOMS)
    assert not offenders(others, lambda name: is_in(name, "data_prep") and not is_in(name, *shared))


def test_data_prep_stands_alone():
    forbidden = ("lumbarclip_jax", *ACCELERATOR)
    assert not offenders(files("data_prep"), lambda name: is_in(name, *forbidden))


def test_data_prep_runs_alone():
    """Nor does a library that it imports."""
    modules = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for path in files("data_prep")
    ]
    imported = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    run = subprocess.run(
        [sys.executable, "-c", imported + "print(*sys.modules)", *modules],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    found = run.stdout.split()
    assert set(modules) <= set(found)
    assert [name for name in found if is_in(name, "lumbarclip_jax", *ACCELERATOR)] == []


def test_data_code_never_touches_a_device():
    assert not offenders(files("lumbarclip_jax.data"), lambda name: is_in(name, *ACCELERATOR))


def test_only_models_and_sharding_use_flax():
    own = set(files("lumbarclip_jax.models") + files("lumbarclip_jax.sharding"))
    others = [path for path in files("lumbarclip_jax") if path not in own]
    assert not offenders(others, lambda name: is_in(name, "flax"))


@pytest.mark.parametrize("room", ["lumbarclip_jax.losses", "lumbarclip_jax.xla_cpu"])
def test_it_knows_only_arrays(room):
    allowed = ("jax", "jaxtyping", "numpy", "math", "functools", "typing", "dataclasses")
    allowed += ("collections", *existing(room))
    assert not offenders(files(room), lambda name: not is_in(name, *allowed))


def test_objectives_know_losses_and_the_names_of_data():
    allowed = ("losses", "objectives", "data.fields", "data.tasks")
    own = existing(*(f"lumbarclip_jax.{room}" for room in allowed))
    assert not offenders(
        files("lumbarclip_jax.objectives"),
        lambda name: is_in(name, "lumbarclip_jax", "flax", "optax") and not is_in(name, *own),
    )


def test_evaluators_know_no_training_code():
    forbidden = existing(
        *(
            f"lumbarclip_jax.{room}"
            for room in ["train", "training", "losses", "models", "run_folder"]
        ),
        *(f"lumbarclip_jax.{room}" for room in ["finetune", "report", "sweep", "export", "bench"]),
    )
    assert not offenders(files("lumbarclip_jax.evaluators"), lambda name: is_in(name, *forbidden))


@pytest.mark.parametrize("package", ORDER)
def test_no_room_knows_one_that_is_built_on_it(package):
    order = ORDER[package].split()
    folder = REPOSITORY / package
    rooms = {path.stem for path in folder.iterdir() if path.suffix == ".py"}
    rooms |= {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    assert set(order) == rooms - {"__init__"}
    up = collections.defaultdict(list)
    for at, room in enumerate(order):
        later = tuple(f"{package}.{other}" for other in order[at + 1 :])
        for offender in offenders(
            files(f"{package}.{room}"), lambda name, later=later: is_in(name, *later)
        ):
            up[room].append(offender)
    assert not up


def test_a_forbidden_import_is_found(tmp_path):
    path = REPOSITORY / "tests" / "test_imports.py"
    assert offenders([path], lambda name: is_in(name, "collections"))
    assert not offenders([path], lambda name: is_in(name, "collect"))
    with pytest.raises(AssertionError, match=r"there is no lumbarclip_jax\.gone"):
        existing("lumbarclip_jax.gone")


def test_private_names_stay_in_their_module():
    own = ("lumbarclip_jax", "data_prep", "configs")
    paths = [path for package in (*own, "tests") for path in files(package)]
    assert not offenders(
        paths, lambda name: is_in(name, *own) and name.split(".")[-1].startswith("_")
    )


def test_nothing_pickles_or_downloads_tensorflow():
    forbidden = ("pickle", "tensorflow", "clu", "dill", "joblib")
    paths = files("lumbarclip_jax") + files("data_prep")
    assert not offenders(paths, lambda name: is_in(name, *forbidden))


def test_files_stay_short():
    paths = [
        path for name in ("lumbarclip_jax", "data_prep", "configs", "tests") for path in files(name)
    ]
    long = {str(p): n for p in paths if (n := len(p.read_text().splitlines())) > 300}
    assert not long
