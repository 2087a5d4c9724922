"""Writes the alignment benchmark of a data set: the reports of a split and their variants.

    python -m data_prep.make_alignment --data_dir DATA --split test --out FILE.json

Each image has its report and of each kind one variant at most, see `data_prep.variants.alignment`:
the report denied, left out, at another disc, on the other side. The file holds texts of reports; it
can be read by its owner alone and is written nowhere but where it is asked for. The same data set
gives the same bytes.
"""

import hashlib
import json
import logging
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from absl import flags

from data_prep import cli
from data_prep.build import commit
from data_prep.label_reports import rules
from data_prep.process.files import write_whole
from data_prep.records import manifest as manifests
from data_prep.variants import alignment, wordings
from data_prep.verify import verify

log = logging.getLogger("data_prep.make_alignment")  # as a command its own name is __main__

NOTICE = "This file holds texts of radiology reports: keep it where the data set may be kept."


def benchmark(folder: pathlib.Path, split: str) -> dict[str, Any]:
    """The benchmark of a split as JSON holds it.

    Every byte of the data set is checked first, as by `data_prep.verify`.

    Returns:
      `notice`, `data_set` (name and content key), `split`, `seed`, `sha256` of the words of the
      variants and of the rules of the labeller, `counts`, and `items`, one an image in the order of
      the split.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: it is no whole data set, or has no such split.
    """
    import tensorflow_datasets as tfds  # here, since --help should not wait for it

    folder = folder.resolve()
    faults, _ = verify(folder)
    if faults:
        raise ValueError(
            f"{folder} has {len(faults)} faults: python -m data_prep.verify tells them, build it "
            "again"
        )
    manifest = commit.read_manifest(folder) or {}  # verify has read it
    splits = list(manifest["splits"])
    if split not in splits:
        raise ValueError(f"--split is {split!r}: {folder} has {', '.join(splits)}, choose of these")
    builder: Any = tfds.builder_from_directory(folder)  # its decorators hide what it takes
    records = [
        {name: value.decode() for name, value in record.items() if isinstance(value, bytes)}
        for record in builder.as_data_source(split)
    ]
    items = alignment.items([r["report"] for r in records], [r["level"] for r in records])
    return {
        "notice": NOTICE,
        "data_set": {"name": folder.name, "content": manifests.content(manifest)},
        "split": split,
        "seed": alignment.SEED,
        "sha256": {
            "wordings": _sha256([wordings.FILE]),
            "rules": _sha256(sorted(p for p in rules.FOLDER.iterdir() if p.is_file())),
        },
        "counts": {
            "images": len(records),
            "patients": len({r["patient_id"] for r in records}),
            "reports": len({r["report"] for r in records}),
            **alignment.counts(items),
        },
        "items": [_entry(*pair) for pair in zip(records, items, strict=True)],
    }


def write(found: Mapping[str, Any], path: pathlib.Path) -> None:
    """Writes a benchmark, for its owner alone to read.

    Raises:
      OSError: the file cannot be written.
    """
    content = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, content.encode(), private=True)


def _entry(record: Mapping[str, str], item: alignment.Item) -> dict[str, Any]:
    return {
        "image_id": record["image_id"],
        "patient_id": record["patient_id"],
        "image_level": record["level"],
        "finding": item.finding,
        "level": item.level,
        "report": item.report,
        "is_ordered": item.is_ordered,
        "variants": {
            kind: {"finding": of.finding, "level": of.level, "text": of.text}
            for kind, of in item.variants.items()
        },
        "missing": dict(item.missing),
    }


def _sha256(paths: Iterable[pathlib.Path]) -> str:
    digests = [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in paths]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    found = benchmark(pathlib.Path(options.data_dir), options.split)
    out = pathlib.Path(options.out)
    write(found, out)
    counts = found["counts"]
    for kind, number in counts["with"].items():
        reasons = "; ".join(f"{why}: {n}" for why, n in counts["without"][kind].items())
        log.info(
            "%s: %d of %d images%s", kind, number, counts["images"], reasons and f" ({reasons})"
        )
    log.info("the benchmark is %s; it holds report texts", out)


if __name__ == "__main__":
    flags.DEFINE_string("data_dir", None, "folder of the data set")
    flags.DEFINE_string("split", "test", "split to make it of")
    flags.DEFINE_string("out", None, "file to write, .json; it will hold report texts")
    flags.mark_flags_as_required(["data_dir", "out"])
    cli.run(main)
