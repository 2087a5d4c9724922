"""What can be wrong with a data set, looked for in every byte of it."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource

from data_prep.build import commit, tallies
from data_prep.records import example, schema
from data_prep.records import texts as further
from data_prep.records.drops import Reason
from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS, STATUS
from data_prep.records.manifest import DATASET_INFO, FEATURES, FILE, METADATA, seal
from data_prep.records.tasks import PATIENT, UNCERTAIN_LABEL
from data_prep.text.reports import report_group
from data_prep.verify.leakage import Leakage

PSEUDONYM = re.compile("[0-9a-f]{16}")
VIEWS = {
    "level": (*schema.LEVELS, schema.WHOLE_SPINE),
    "plane": schema.PLANES,
    "sequence": schema.SEQUENCES,
}
IDS = ("patient_id", "study_id", "series_id", "image_id", "report_group")
TEXTS = (*IDS, *VIEWS, "report", "report_source")


def verify(folder: pathlib.Path) -> tuple[list[str], str]:
    """Checks a data set folder.

    Returns:
      (the faults, one line each; a summary of what was checked).

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it has no manifest, or one of another version, so nothing can be checked.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: name that of a data set")
    manifest = commit.read_manifest(folder)
    if manifest is None:
        raise ValueError(f"{folder} has no readable {FILE}: build the data set again")
    if manifest.get("schema_version") != schema.SCHEMA_VERSION:
        raise ValueError(f"{folder} is of another schema version: build the data set again")
    checker = _Checker(folder, manifest)
    try:
        faults = list(checker.faults())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the manifest of {folder} lacks or garbles {error}: build the data set again"
        ) from error
    return faults, checker.summary()


class _Checker:
    """One pass over a data set."""

    def __init__(self, folder: pathlib.Path, manifest: Mapping):
        self._folder = folder
        self._manifest = manifest
        self._features = example.features_of(manifest, manifest["image"]["size_px"])
        self._tasks = manifest.get("tasks", ())
        self._labels: dict[tuple[str, str], int] = {}  # patient, task
        self._kinds: dict[tuple[str, str], str] = {}  # patient, text
        self._found = {
            split: {name: set() for name in ("images", "patients", "report_groups")}
            for split in manifest["splits"]
        }
        self._views: collections.Counter[tuple[str, str]] = collections.Counter()
        self._records = self._bytes = 0
        self._leakage = Leakage()

    def faults(self) -> Iterator[str]:
        yield from self._files()
        yield from self._metadata()
        yield from self._vocabulary()
        for entry in self._manifest["shards"]:
            yield from self._shard(entry)
        yield from self._counts()
        yield from self._leakage.faults()

    def summary(self) -> str:
        splits = ", ".join(
            f"{counts['images']} images of {counts['patients']} patients in {split}"
            for split, counts in self._manifest["splits"].items()
        )
        return (
            f"{self._records} records in {len(self._manifest['shards'])} shards, "
            f"{self._bytes / 2**20:.1f} MB: {splits}"
        )

    def _files(self) -> Iterator[str]:
        """What is there that should not be; what is missing is said where it is needed."""
        expected = {
            FILE,
            *METADATA,
            *(e["name"] for e in self._manifest["shards"]),
        }
        if self._manifest["vocabulary"]:
            expected.add(self._manifest["vocabulary"]["file"])
        for path in sorted(self._folder.iterdir()):
            if path.name not in expected:
                # Its name may be anybody's.
                yield "a file that the manifest does not name is in the folder"

    def _metadata(self) -> Iterator[str]:
        for name, sha256 in self._manifest["metadata"].items():
            if name == FILE:
                if seal(self._manifest) != sha256:
                    yield f"{name}: changed since the data set was built"
            elif _sha256(self._folder / name) != sha256:
                yield f"{name}: missing or changed"
        try:
            info = tfds.builder_from_directory(self._folder).info
            if info.features.to_json() != self._features.to_json():
                yield f"{FEATURES}: not the features of this version"
            for split in self._manifest["splits"]:
                lengths = [e["records"] for e in self._manifest["shards"] if e["split"] == split]
                if list(info.splits[split].shard_lengths) != lengths:
                    yield f"{DATASET_INFO}: other shards in {split} than the manifest"
        except Exception as error:  # TFDS raises whatever its JSON reader does
            yield f"{DATASET_INFO}: TFDS cannot open the data set ({type(error).__name__})"

    def _vocabulary(self) -> Iterator[str]:
        stated = self._manifest["vocabulary"]
        if (stated is None) != ("train" not in self._manifest["splits"]):
            yield f"{FILE}: a vocabulary belongs to a data set with a train split alone"
        if stated is None:
            return
        path = self._folder / stated["file"]
        if _sha256(path) != stated["sha256"]:
            yield f"{stated['file']}: missing or changed"
        elif len(path.read_text(encoding="utf-8").splitlines()) != stated["size"]:
            yield f"{stated['file']}: not of {stated['size']} tokens"

    def _shard(self, entry: Mapping) -> Iterator[str]:
        name, path = entry["name"], self._folder / entry["name"]
        if not path.is_file():
            yield f"{name}: missing"
            return
        size, sha256 = path.stat().st_size, _sha256(path)
        self._bytes += size
        if size != entry["bytes"]:
            yield f"{name}: {size} bytes, not {entry['bytes']}"
        if sha256 != entry["sha256"]:
            twins = [e["name"] for e in self._manifest["shards"] if e["sha256"] == sha256]
            yield f"{name}: " + (f"holds {twins[0]}" if twins else "its content has changed")
        try:
            source = ArrayRecordDataSource([str(path)])
        except Exception as error:  # ArrayRecord raises several kinds
            yield f"{name}: cannot be opened ({type(error).__name__})"
            return
        with source:
            if len(source) != entry["records"]:
                yield f"{name}: {len(source)} records, not {entry['records']}"
            for number in range(len(source)):
                where = f"{name} record {number}"
                try:
                    record: Any = self._features.deserialize_example_np(source[number])
                    texts = {name: record[name].decode("utf-8") for name in TEXTS}
                except Exception as error:
                    yield f"{where}: cannot be read ({type(error).__name__})"
                else:
                    self._records += 1
                    for what in self._record(record, texts, entry["split"], where):
                        yield f"{where}: {what}"

    def _record(
        self, record: Mapping, texts: Mapping[str, str], split: str, where: str
    ) -> Iterator[str]:
        for name in IDS:
            if not PSEUDONYM.fullmatch(texts[name]):
                yield f"{name} is no pseudonym"
        if not texts["report"].strip() or texts["report_group"] != report_group(texts["report"]):
            yield "its report is empty or not of its report_group"
        if texts["report_source"] not in (schema.WRITTEN, schema.TEMPLATED):
            yield "unknown report_source"
        for name, known in VIEWS.items():
            if texts[name] not in known:
                yield f"unknown {name}"
        for name, names in (("findings", FINDINGS), ("level_findings", LEVEL_FINDINGS)):
            if record[name].shape != (len(names),) or record[name].max() > max(STATUS.values()):
                yield f"{name} holds an unknown status"
        if record["grades"]["pfirrmann"] > 5:
            yield "a Pfirrmann grade above 5"
        yield from self._own_labels(record, texts["patient_id"])
        if "texts" in self._manifest:
            yield from self._further_texts(record, texts)
        self._views[texts["plane"], texts["sequence"]] += 1
        found = self._found[split]
        if texts["image_id"] in found["images"]:
            yield "its image_id is that of another record"
        found["images"].add(texts["image_id"])
        found["patients"].add(texts["patient_id"])
        found["report_groups"].add(texts["report_group"])
        if texts["report_source"] == schema.TEMPLATED:
            # Equal grades give equal texts, which splits may share.
            group = f"{texts['report_group']} {texts['patient_id']}"
            texts = {**texts, "report_group": group}
        self._leakage.add(split, where, texts, record["image"])

    def _own_labels(self, record: Mapping, patient: str) -> Iterator[str]:
        for index, task in enumerate(self._tasks):
            label = int(record["labels"][index])
            if not UNCERTAIN_LABEL <= label < len(task["classes"]):
                yield f"a label of the task {task['name']} that is none of its classes"
            # Of a patient's task the first label that is seen counts, of an image's this one.
            first = self._labels.setdefault((patient, task["name"]), label)
            if task["unit"] == PATIENT and first != label:
                yield f"another label of the task {task['name']} than its patient has elsewhere"

    def _further_texts(self, record: Mapping, texts: Mapping[str, str]) -> Iterator[str]:
        found = [text.decode("utf-8", "replace") for text in record[further.TEXTS]]
        kinds = [kind.decode("utf-8", "replace") for kind in record[further.KINDS]]
        if len(kinds) != len(found) or not all(map(further.KIND.fullmatch, kinds)):
            yield "further texts without a kind each"
        groups = [texts["report_group"], *map(report_group, found)]
        if not all(text.strip() for text in found) or len(set(groups)) < len(groups):
            yield "a further text that is empty, or said twice"
        labels = record[further.LABELS] if self._tasks else np.zeros((len(found), 0), int)
        sizes = [len(task["classes"]) for task in self._tasks]
        if len(labels) != len(found) or (labels < UNCERTAIN_LABEL).any() or (labels >= sizes).any():
            yield "labels of its further texts that are none of the classes"
        for text, kind in zip(found, kinds, strict=False):
            self._kinds.setdefault((texts["patient_id"], text), kind)

    def _counts(self) -> Iterator[str]:
        for split, stated in self._manifest["splits"].items():
            for name, values in self._found[split].items():
                if stated[name] != len(values):
                    yield f"{split}: {len(values)} {name}, not {stated[name]} as in the manifest"
        # Data sets of earlier versions do not count them.
        views = tallies.nested(self._views)
        if self._manifest.get("views", views) != views:
            yield f"{FILE}: views does not count the planes and sequences of the records"
        kinds = collections.Counter(self._kinds.values())
        if self._manifest.get("texts", {"kinds": {}}) != {"kinds": dict(kinds)}:
            yield f"{FILE}: texts does not count the further texts of the records"
        reasons = collections.Counter(drop["reason"] for drop in self._manifest["dropped"])
        if dict(reasons) != self._manifest["dropped_by_reason"]:
            yield f"{FILE}: dropped_by_reason does not count what is in dropped"
        if unknown := reasons.keys() - {reason.value for reason in Reason}:
            yield f"{FILE}: {len(unknown)} unknown reasons in dropped"


def _sha256(path: pathlib.Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
