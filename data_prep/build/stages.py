"""The back half of a build: plan, convert, publish; each can be interrupted and repeated.

write_plan      a hidden folder beside the data set: rows, later shards and receipts
convert_one     for every shard: here, on other computers, twice, it makes no difference
publish         patients who look alike are joined in one split, the data set gets its name
build_here      all of these
"""

import contextlib
import csv
import fcntl
import io
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from data_prep.build import commit, runners
from data_prep.build.plan import Plan
from data_prep.build.workspace import Job, Workspace, convert
from data_prep.images.fingerprints import BYTES, near_duplicates
from data_prep.process.files import write_whole
from data_prep.records import drops
from data_prep.records.drops import Drop, NothingLeft, Reason
from data_prep.records.pseudonyms import Pseudonyms, load_or_create_key


def finished(out_dir: pathlib.Path, plan: Plan) -> dict | None:
    """The manifest if `out_dir` holds this very plan's data set, None if it does not exist.

    Raises:
      ValueError: it holds another data set.
    """
    existing = commit.read_manifest(out_dir)
    if existing is None:
        return None
    if existing.get("plan") == plan.digest and commit.is_whole(out_dir, existing):
        return existing
    raise ValueError(f"{out_dir} holds another data set: add --overwrite, or choose another --out")


def write_plan(out_dir: pathlib.Path, plan: Plan, job: Job) -> None:
    """Writes a plan for others to convert.

    Raises:
      OSError: the output cannot be written.
    """
    Workspace.of(out_dir, plan).write(plan, job)


def shard_count(out_dir: pathlib.Path) -> int:
    """How many shards the build of `out_dir` has.

    Raises:
      ValueError: there is no such build.
    """
    return len(Workspace.find(out_dir).shards())


def build_here(
    out_dir: pathlib.Path,
    plan: Plan,
    job: Job,
    *,
    runner: str,
    workers: int,
    beam_options: str = "",
) -> dict:
    """Runs all stages: writes the plan, converts what is missing, publishes.

    Returns:
      The manifest.

    Raises:
      ValueError: another process builds this data set, or no image can be decoded.
      OSError: the output cannot be written; what is done is kept.
    """
    space = Workspace.of(out_dir, plan)
    space.folder.mkdir(mode=0o700, exist_ok=True)
    with _alone(space):
        space.write(plan, job)
        _convert_missing(space, runner=runner, workers=workers, beam_options=beam_options)
        return _publish(space, out_dir, workers)


def convert_one(out_dir: pathlib.Path, number: int | None) -> None:
    """Makes shard `number` of the build of `out_dir` ready.

    Raises:
      ValueError: there is no such build, or no such shard.
      OSError: the shard cannot be written.
    """
    space = Workspace.find(out_dir)
    shards = space.shards()
    if number is None or not 0 <= number < len(shards):
        raise ValueError(f"--shard is {number}: the shards are numbered 0 to {len(shards) - 1}")
    digest = shards[number].digest
    if space.receipt(digest) is None:
        convert((space.folder, digest))


def publish(out_dir: pathlib.Path, workers: int) -> dict:
    """Publishes a build whose shards were all converted.

    Returns:
      The manifest.

    Raises:
      ValueError: there is no such build, some shard is missing, or no image could be decoded.
      OSError: the output cannot be written.
    """
    space = Workspace.find(out_dir)
    if missing := space.missing():
        shown = ",".join(map(str, missing[:20])) + (",..." if len(missing) > 20 else "")
        raise ValueError(
            f"{len(missing)} shards of {out_dir} are not converted: "
            f"run --stage=convert for --shard {shown}"
        )
    with _alone(space):
        return _publish(space, out_dir, workers)


def _convert_missing(space: Workspace, **how) -> None:
    shards = space.shards()
    tasks = [(space.folder, shards[number].digest) for number in space.missing()]
    runners.run(convert, tasks, **how)


def _publish(space: Workspace, out_dir: pathlib.Path, workers: int) -> dict:
    job = space.job()
    alike = _look_alikes(space)
    apart = [pair for pair, splits in alike.items() if len(splits) > 1]
    if apart and not job.splits_are_given:
        space.write(space.plan().joining(alike), job)
        _convert_missing(space, runner="local", workers=workers)
    dropped = _dropped(space)
    key_file = pathlib.Path(job.key_file)
    if not key_file.is_file():
        raise FileNotFoundError(f"the key file {key_file} of this build is gone: restore it")
    pseudonyms = Pseudonyms(load_or_create_key(key_file))
    if not any(space.made(shard.digest).kept for shard in space.shards()):
        space.remove()
        nothing = NothingLeft(f"no image of {job.images_dir} can be decoded", dropped)
        raise nothing.listed(pathlib.Path(f"{out_dir}.dropped.csv"), pseudonyms)
    folder = space.folder / "data"
    shutil.rmtree(folder, ignore_errors=True)
    provenance = {
        **job.provenance,
        "look_alikes": {
            "patients": len({patient for pair in alike for patient in pair}),
            "pairs": len(alike),
            "pairs_apart": len(apart) if job.splits_are_given else 0,
        },
    }
    manifest = commit.commit(space, folder, dropped, provenance, pseudonyms)
    # Tables of identities wait in the workspace: a killed build leaves none beside `out_dir`.
    tables = {name: space.folder / f"{name}.csv" for name in ("dropped", "splits")}
    drops.write_private_table(tables["dropped"], dropped, pseudonyms)
    _write_splits(tables["splits"], space)
    for name, path in tables.items():
        path.replace(f"{out_dir}.{name}.csv")
    _take_place(folder, out_dir, space, replace=job.overwrite)
    return manifest


def _look_alikes(space: Workspace) -> dict[tuple[str, str], set[str]]:
    """The pairs of patients who have images that look the same, each with the patients' splits."""
    owners: list[tuple[str, str]] = []
    planes: list[str] = []
    prints = bytearray()
    for shard in space.shards():
        rows = list(space.rows(shard.digest))
        for number, fingerprint in space.made(shard.digest).kept:
            if fingerprint:
                owners.append((rows[number].features["patient_id"], shard.split))
                planes.append(rows[number].features["plane"])
                prints += bytes.fromhex(fingerprint)
    patients = [patient for patient, _ in owners]
    alike: dict[tuple[str, str], set[str]] = {}
    table = np.frombuffer(prints, np.uint8).reshape(-1, BYTES)
    for i, j in near_duplicates(table, patients, planes):
        pair = min(patients[i], patients[j]), max(patients[i], patients[j])
        alike[pair] = {owners[i][1], owners[j][1]}
    return alike


def _dropped(space: Workspace) -> list[Drop]:
    """What the plan leaves out, and what could not be decoded."""
    dropped = space.drops()
    for shard in space.shards():
        if bad := space.made(shard.digest).dropped:
            rows = list(space.rows(shard.digest))
            dropped += [Drop(rows[n].place, Reason(reason), detail) for n, reason, detail in bad]
    return dropped


def _write_splits(path: pathlib.Path, space: Workspace) -> None:
    """Writes the table that ``--split_file`` takes; it holds the source's ids, so it is private."""
    source_id_of = space.patients()
    lines = set()
    for shard in space.shards():
        rows = list(space.rows(shard.digest))
        for number, _ in space.made(shard.digest).kept:
            patient_id = rows[number].features["patient_id"]
            lines.add((source_id_of[patient_id], shard.split, patient_id))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["patient", "split", "patient_id"])
    writer.writerows(sorted(lines))
    write_whole(path, table.getvalue().encode("utf-8", "surrogateescape"), private=True)


def _take_place(
    folder: pathlib.Path, out_dir: pathlib.Path, space: Workspace, *, replace: bool
) -> None:
    """Gives the finished folder its name; workspaces beside it have had their day."""
    if out_dir.exists():
        if not replace:
            raise ValueError(f"{out_dir} was made meanwhile: add --overwrite to replace it")
        replaced = space.folder / "replaced"
        shutil.rmtree(replaced, ignore_errors=True)
        out_dir.rename(replaced)
    folder.rename(out_dir)
    for other in Workspace.all(out_dir):
        other.remove()


@contextlib.contextmanager
def _alone(space: Workspace) -> Iterator[None]:
    """Keeps a second process from the same workspace; the kernel frees the lock of a dead one."""
    with (space.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process builds in {space.folder}: wait for it") from None
        yield
