"""Keyed pseudonyms: the only form in which a source's identifiers reach a data set.

A plain hash of a record number can be undone by hashing every possible number; an HMAC cannot
without its key, which therefore lives outside the data set.
"""

import hashlib
import hmac
import os
import pathlib
import re
import secrets

KEY_BYTES = 32


class Pseudonyms:
    """Maps identifiers of a source to 16 hex digits by HMAC-SHA256."""

    def __init__(self, key: bytes):
        self._key = key

    def __call__(self, kind: str, identifier: str) -> str:
        """The pseudonym of an identifier; ``kind`` keeps equal strings of two kinds apart."""
        message = f"{kind}\0{identifier}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:16]


def load_or_create_key(path: pathlib.Path) -> bytes:
    """Reads a key of 64 hex digits; a missing file is created, readable by its owner alone.

    Raises:
      ValueError: the file holds something else, or cannot be read or written.
    """
    try:
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise ValueError(
            f"the key file {path} cannot be written ({error.strerror}): "
            "give a writable place with --key_file"
        ) from error
    else:
        with os.fdopen(file, "w") as handle:
            handle.write(secrets.token_hex(KEY_BYTES) + "\n")
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the key file {path} cannot be read: give another --key_file") from error
    if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", text):
        raise ValueError(
            f"the key file {path} must hold {2 * KEY_BYTES} lower-case hex digits: "
            "restore it, or name a new file with --key_file to make a fresh key"
        )
    return bytes.fromhex(text)
