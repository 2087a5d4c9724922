"""Damages a data set in many ways and says whether training finds each before its first step.

    python tests/fuzz_dataset.py --damages=500 --seed=0

Every damage is done to a fresh copy, which is then opened as training opens it. Prints a summary as
JSON; the exit status is 1 when a damage was missed, or told in more than one sentence.
"""

import argparse
import collections
import json
import logging
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from data_prep.build import build
from lumbarclip_jax.data.dataset import Dataset
from tests import data_prep_cohort as cohort

SMALL = ("manifest.json", "dataset_info.json", "features.json", "vocab.txt")
SHARES = "train=0.6,validation=0.2,test=0.2"


class Damages:
    """Draws damages to copies of a data set; `other` is another one, with shards of its own."""

    def __init__(self, folder: pathlib.Path, other: pathlib.Path, rng: random.Random):
        self.folder, self.other, self.rng = folder, other, rng
        in_shards = {"swapped": self.swap, "extra": self.add, "renamed": self.rename}
        in_words = {"word edited": self.edit, "word lost": self.lose, "words swapped": self.shuffle}
        self.kinds: dict[str, Callable[[], None]] = {
            **{f"shard {name}": change for name, change in in_shards.items()},
            **{f"vocabulary {name}": change for name, change in in_words.items()},
            "manifest number changed": self.change_number,
            "manifest entry lost": self.lose_entry,
        }
        for name, change in {
            "flipped": self.flip,
            "overwritten": self.overwrite,
            "cut": self.cut,
            "emptied": lambda content: b"",
            "grown": lambda content: content + self.rng.randbytes(self.rng.randrange(1, 5000)),
        }.items():
            self.kinds[f"shard {name}"] = lambda change=change: self.rewrite(self.shard(), change)
            self.kinds[f"small file {name}"] = lambda change=change: self.rewrite(
                self.small(), change
            )
        for what, path in (("shard", self.shard), ("small file", self.small)):
            self.kinds[f"{what} missing"] = lambda path=path: path().unlink()
            self.kinds[f"{what} of another set"] = lambda path=path: self.exchange(path())
            self.kinds[f"{what} is a folder"] = lambda path=path: self.make_folder(path())

    def shard(self) -> pathlib.Path:
        return self.rng.choice(sorted(self.folder.glob("*.array_record*")))

    def small(self) -> pathlib.Path:
        return self.folder / self.rng.choice(SMALL)

    def rewrite(self, path: pathlib.Path, change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(path.read_bytes()))

    def flip(self, content: bytes) -> bytes:
        changed = bytearray(content)
        changed[self.rng.randrange(len(changed))] ^= 1 << self.rng.randrange(8)
        return bytes(changed)

    def overwrite(self, content: bytes) -> bytes:
        """A page of zeros or of chance, as a bad disk leaves it."""
        start = self.rng.randrange(len(content))
        size = min(4096, len(content) - start)
        page = bytes(size) if self.rng.random() < 0.5 else self.rng.randbytes(size)
        return content[:start] + page + content[start + size :]

    def cut(self, content: bytes) -> bytes:
        return content[: self.rng.randrange(len(content))]

    def swap(self) -> None:
        one, two = self.rng.sample(sorted(self.folder.glob("*.array_record*")), 2)
        first = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(first)

    def add(self) -> None:
        split = self.rng.choice(["train", "test", "extra"])
        number, count = self.rng.randrange(90), self.rng.randrange(90, 100)
        name = f"lumbar_mri-{split}.array_record-{number:05d}-of-{count:05d}"
        shutil.copyfile(self.shard(), self.folder / name)

    def rename(self) -> None:
        path = self.shard()
        path.rename(path.with_name(path.name + self.rng.choice([".part", "~", ".1"])))

    def exchange(self, path: pathlib.Path) -> None:
        theirs = self.other / path.name
        if not theirs.is_file():
            theirs = self.rng.choice(sorted(self.other.glob("*.array_record*")))
        shutil.copyfile(theirs, path)

    def make_folder(self, path: pathlib.Path) -> None:
        path.unlink()
        path.mkdir()

    def words(self, change: Callable[[list[str]], None]) -> None:
        path = self.folder / "vocab.txt"
        words = path.read_text().splitlines()
        change(words)
        path.write_text("\n".join(words) + "\n")

    def edit(self) -> None:
        def change(words: list[str]) -> None:
            words[self.rng.randrange(len(words))] += "x"

        self.words(change)

    def lose(self) -> None:
        self.words(lambda words: words.pop(self.rng.randrange(len(words))))

    def shuffle(self) -> None:
        def change(words: list[str]) -> None:
            i, j = self.rng.sample(range(len(words)), 2)
            words[i], words[j] = words[j], words[i]

        self.words(change)

    def manifest(self, change: Callable[[dict], None]) -> None:
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    def change_number(self) -> None:
        def change(manifest: dict) -> None:
            split = manifest["splits"][self.rng.choice(sorted(manifest["splits"]))]
            entries = [split, self.rng.choice(manifest["shards"]), manifest["image"]]
            entry = self.rng.choice(entries)
            name = self.rng.choice([k for k, v in entry.items() if isinstance(v, int | float)])
            entry[name] += self.rng.choice([-1, 1, 1000])

        self.manifest(change)

    def lose_entry(self) -> None:
        def change(manifest: dict) -> None:
            entries = (manifest, manifest["metadata"], self.rng.choice(manifest["shards"]))
            entry = self.rng.choice(entries)
            # Without its seal a manifest is an older one, and its other entries are whole.
            del entry[self.rng.choice(sorted(entry.keys() - {"manifest.json"}))]

        self.manifest(change)


def content(folder: pathlib.Path) -> dict[str, object]:
    """By name what each file says: equal where a damage has changed nothing."""
    found: dict[str, object] = {}
    for path in folder.iterdir():
        found[path.name] = path.read_bytes() if path.is_file() else None
        if path.name == "manifest.json" and path.is_file():
            try:
                found[path.name] = json.loads(found[path.name])
            except ValueError:
                continue
    return found


def outcome(folder: pathlib.Path) -> tuple[str, str]:
    """(`found`, the sentence), or what else became of opening the data set as training does."""
    try:
        Dataset(folder, check_shards=True)
    except (ValueError, OSError) as error:
        sentence = str(error)
        told = sentence.startswith(str(folder)) and "again" in sentence and "\n" not in sentence
        return "found" if told else "not told", sentence.replace(str(folder), "DATA")
    except Exception as error:
        return "not told", f"{type(error).__name__}: {error}"
    return "missed", ""


def fuzz(damages: int, seed: int) -> dict:
    """The summary of a run."""
    started = time.monotonic()
    kinds: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    failures = []
    with tempfile.TemporaryDirectory() as root:
        sets = [_make(pathlib.Path(root) / str(size), size) for size in (32, 16)]
        sound = content(sets[0])
        Dataset(sets[0], check_shards=True)
        for number in range(damages):
            rng = random.Random(f"{seed} {number}")
            copy = pathlib.Path(root) / "copy"
            shutil.copytree(sets[0], copy)
            draw = Damages(copy, sets[1], rng)
            kind = list(draw.kinds)[number % len(draw.kinds)]
            while content(copy) == sound:
                draw.kinds[kind]()
            became, sentence = outcome(copy)
            kinds[kind][became] += 1
            if became != "found":
                failures.append(f"{number}: {kind}: {became} {sentence}")
            shutil.rmtree(copy)
    total = sum(kinds.values(), collections.Counter())
    return {
        "damages": damages,
        "outcomes": dict(total),
        "kinds": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
        "failures": failures[:20],
        "took_s": round(time.monotonic() - started, 1),
        "passed": not failures,
    }


def _make(root: pathlib.Path, size_px: int) -> pathlib.Path:
    cohort.write_slices(root, 24, size_px, sequences=("T1",))
    cohort.write_reports(root / "reports.csv", 24)
    reports, out = root / "reports.csv", root / "set"
    build(root, reports, out, split_shares=SHARES, size_px=size_px, shard_records=9)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()
    result = fuzz(options.damages, options.seed)
    print(json.dumps(result, indent=1))
    sys.exit(not result["passed"])
