"""Whether git would take a file along: data, keys and reports do not belong into a repository."""

import os
import pathlib
import subprocess
from collections.abc import Iterable


def unignored(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Those of `paths` that lie in a git work tree and that its .gitignore files do not cover.

    They need not exist yet. Without git on this machine nobody can `git add` them here either.
    """
    return [path for path in paths if _is_unignored(path)]


def _is_unignored(path: pathlib.Path) -> bool:
    folder = path.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    # Of a folder that is yet to be made, only one with a / is seen to be covered by "data/".
    names = [os.fspath(path.absolute()), f"{path.absolute()}/"]
    statuses = []
    for name in names:
        try:
            found = subprocess.run(
                ["git", "-C", folder, "check-ignore", "-q", name], capture_output=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        statuses.append(found.returncode)
    # 0 is covered, 1 is not, 128 is no work tree.
    return 0 not in statuses and 1 in statuses
