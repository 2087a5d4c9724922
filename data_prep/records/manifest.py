"""The manifest's file, and the seal by which it shows that nobody changed it."""

import hashlib
import json
from collections.abc import Mapping

FILE = "manifest.json"


def seal(manifest: Mapping) -> str:
    """SHA-256 of all that a manifest says but this: its own entry in `metadata`."""
    metadata = {name: digest for name, digest in manifest["metadata"].items() if name != FILE}
    content = json.dumps({**manifest, "metadata": metadata}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
