"""What makes two data sets the same one, wherever they lie."""

from collections.abc import Iterator, Mapping

from data_prep.records.manifest import content

# What is told of two data sets that differ, where they differ in it.
TOLD = ("key_fingerprint", "seed", "splits_source", "splits", "image", "vocabulary")
SHOWN = 4


def summary(manifest: Mapping) -> dict:
    """What a run keeps of its data set's manifest: all but its lists, and `content`.

    `content` is that of `data_prep.records.manifest`.
    """
    kept = {k: v for k, v in manifest.items() if k not in ("shards", "dropped")}
    if "shards" in manifest:
        kept["content"] = content(manifest)
    return kept


def difference(before: Mapping, now: Mapping) -> str:
    """In what two data sets differ, "" when they are the same one.

    Args:
      before: a manifest, or the summary that a run kept. Runs of earlier versions kept no
        `content`: they are compared by `plan`, all that the build was made from.
      now: likewise.
    """
    before, now = summary(before), summary(now)
    shared = [name for name in ("content", "plan") if name in before and name in now]
    if not shared or before[shared[0]] == now[shared[0]]:
        return ""
    told = [
        f"{name} was {was!r}, is {now_!r}"
        for entry in TOLD
        if entry in before and entry in now
        for name, was, now_ in differing(before[entry], now[entry], entry)
    ]
    if len(told) > SHOWN:
        told[SHOWN:] = [f"{len(told) - SHOWN} more"]
    return "; ".join(told) or "its pictures, texts or labels"


def differing(before, now, name: str) -> Iterator[tuple[str, object, object]]:
    """The dotted name and both values of what differs in two trees of dicts.

    What only one of them has is passed over.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in before.keys() & now.keys():
            yield from differing(before[key], now[key], f"{name}.{key}" if name else key)
    elif before != now:
        yield name, before, now
