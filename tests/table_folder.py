"""Tables of one row an image, the images that they name, and what is built of them."""

import csv

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from data_prep.build import build

SIZE_PX = 16
HEADER = ("path", "patient", "sequence", "level", "report", "pain", "grade")


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def save(path, shape=(SIZE_PX, SIZE_PX), seed=0, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype)
    PIL.Image.fromarray(pixels).save(path)
    return pixels


def build_from(root, rows, out="set", **options):
    reports = write(root / f"{out}.csv", rows)
    (root / "key").write_text("ab" * 32)
    options = {"split_shares": "train=0.5,test=0.5", "size_px": SIZE_PX, "workers": 1} | options
    options |= {"source": "table", "key_file": root / "key"}
    return build(root / "images", reports, root / out, **options)


def records(folder):
    builder = tfds.builder_from_directory(folder)
    return [record for split in builder.info.splits for record in builder.as_data_source(split)]
