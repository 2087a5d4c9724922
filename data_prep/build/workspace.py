"""The hidden folder of a build under way: its plan, the shards that are ready, their receipts.

Rows and shards are named by the digest of what they hold. So whoever comes back to a build, after a
crash or with an amended plan, finds by name alone what is done.
"""

import dataclasses
import json
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

from data_prep.build.plan import Plan, digest_of
from data_prep.build.shards import Receipt, Row, convert_shard
from data_prep.images.pixels import Rendering
from data_prep.process.files import write_whole
from data_prep.records.drops import Drop, Reason

JOB, PLAN = "job.json", "plan.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """What a build needs beside its plan.

    `images_dir` is what the rows' paths are relative to, `provenance` the entries of the manifest
    that say what was built from what. `splits_are_given` keeps every patient in the planned split;
    `overwrite` replaces another data set.
    """

    images_dir: str
    key_file: str
    rendering: Rendering
    provenance: Mapping[str, object]
    splits_are_given: bool
    overwrite: bool


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A shard of the plan by the digest of its rows."""

    split: str
    digest: str


class Workspace:
    """The folder of one build; readable by its owner alone, as it names places in the source."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    @classmethod
    def of(cls, out_dir: pathlib.Path, plan: Plan) -> "Workspace":
        """The workspace of a plan for `out_dir`, there or not."""
        return cls(out_dir.with_name(f".{out_dir.name}.{plan.digest}.partial"))

    @classmethod
    def find(cls, out_dir: pathlib.Path) -> "Workspace":
        """The one workspace beside `out_dir`.

        Raises:
          ValueError: there is none, or more than one.
        """
        found = [space for space in cls.all(out_dir) if (space.folder / PLAN).exists()]
        if not found:
            raise ValueError(f"no build of {out_dir} is under way: run --stage=plan first")
        if len(found) > 1:
            names = ", ".join(str(space.folder) for space in found)
            raise ValueError(
                f"{out_dir} has several builds under way: remove all but one of {names}"
            )
        return found[0]

    @classmethod
    def all(cls, out_dir: pathlib.Path) -> "list[Workspace]":
        """Every workspace beside `out_dir`."""
        # Not just any middle: `.set.a.<digest>.partial` is of `set.a`, not of `set`.
        name = re.compile(rf"\.{re.escape(out_dir.name)}\.[0-9a-f]{{16}}\.partial")
        return [cls(path) for path in sorted(out_dir.parent.iterdir()) if name.fullmatch(path.name)]

    def write(self, plan: Plan, job: Job) -> None:
        """Writes a plan, or another one in its place; the plan file last.

        Raises:
          OSError: something cannot be written.
        """
        (self.folder / "rows").mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "shards").mkdir(exist_ok=True)
        self.folder.chmod(0o700)
        shards = []
        for split, split_shards in plan.shards.items():
            for rows in split_shards:
                digest = digest_of(rows, job.rendering)
                shards.append({"split": split, "digest": digest})
                lines = (json.dumps(dataclasses.asdict(row)) + "\n" for row in rows)
                if not self._rows_path(digest).exists():
                    write_whole(self._rows_path(digest), "".join(lines).encode())
        write_whole(self.folder / JOB, json.dumps(dataclasses.asdict(job)).encode())
        content = {
            "digest": plan.digest,
            "boundaries": plan.boundaries,
            "patients": plan.patients,
            "drops": [dataclasses.astuple(drop) for drop in plan.drops],
            "shards": shards,
        }
        write_whole(self.folder / PLAN, json.dumps(content).encode())

    def job(self) -> Job:
        """The job, as written."""
        job = json.loads((self.folder / JOB).read_bytes())
        return Job(**job | {"rendering": Rendering(**job["rendering"])})

    def shards(self) -> list[PlannedShard]:
        """The shards of the plan, in order."""
        return [PlannedShard(**shard) for shard in self._content()["shards"]]

    def drops(self) -> list[Drop]:
        """What the plan leaves out."""
        return [
            Drop(place, Reason(reason), detail)
            for place, reason, detail in self._content()["drops"]
        ]

    def patients(self) -> dict[str, str]:
        """Pseudonym -> id in the source."""
        return self._content()["patients"]

    def plan(self) -> Plan:
        """The plan, with all its rows."""
        content = self._content()
        shards: dict[str, list[Sequence[Row]]] = {}
        for shard in self.shards():
            shards.setdefault(shard.split, []).append(list(self.rows(shard.digest)))
        return Plan(
            shards, content["boundaries"], content["patients"], self.drops(), content["digest"]
        )

    def rows(self, digest: str) -> Iterator[Row]:
        """The rows of a shard."""
        with self._rows_path(digest).open(encoding="utf-8") as file:
            for line in file:
                yield Row(**json.loads(line))

    def shard_path(self, digest: str) -> pathlib.Path:
        """The file of a shard that is ready and has records."""
        return self.folder / "shards" / digest

    def receipt(self, digest: str) -> Receipt | None:
        """The receipt of a shard, None while it is not ready."""
        try:
            receipt = Receipt(**json.loads(self.receipt_path(digest).read_bytes()))
            # A removal that was killed may have left a receipt and taken its file.
            whole = not receipt.kept or self.shard_path(digest).stat().st_size == receipt.bytes
        except FileNotFoundError:
            return None
        return receipt if whole else None

    def made(self, digest: str) -> Receipt:
        """The receipt of a shard that was converted.

        Raises:
          OSError: it is not ready.
        """
        if (receipt := self.receipt(digest)) is None:
            raise OSError(f"a shard of {self.folder} is gone: run the same command again")
        return receipt

    def missing(self) -> list[int]:
        """The numbers of the shards that are not ready."""
        return [
            number
            for number, shard in enumerate(self.shards())
            if self.receipt(shard.digest) is None
        ]

    def remove(self) -> None:
        """Removes the folder; the plan first, so that no half of it is ever taken for a whole."""
        (self.folder / PLAN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _content(self) -> dict:
        return json.loads((self.folder / PLAN).read_bytes())

    def _rows_path(self, digest: str) -> pathlib.Path:
        return self.folder / "rows" / f"{digest}.jsonl"

    def receipt_path(self, digest: str) -> pathlib.Path:
        """The file of a shard's receipt, written after the shard."""
        return self.folder / "shards" / f"{digest}.json"


def convert(task: tuple[pathlib.Path, str]) -> None:
    """Makes one shard ready: the unit of work of every runner, harmless when done twice.

    Args:
      task: (folder of the workspace, digest of the shard).

    Raises:
      OSError: the shard cannot be written.
    """
    folder, digest = task
    space = Workspace(folder)
    job = space.job()
    receipt = convert_shard(
        list(space.rows(digest)),
        pathlib.Path(job.images_dir),
        job.rendering,
        space.shard_path(digest),
    )
    write_whole(space.receipt_path(digest), json.dumps(dataclasses.asdict(receipt)).encode())
