"""What a rule proposes, before the labeller has read it."""

import dataclasses
from collections.abc import Sequence

from data_prep.variants.statements import Fact, Statement
from data_prep.variants.variant import Change


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Statements to replace, or leave out, and the facts that this is to take away and bring.

    `changed` tells what changes where the facts do not: sides.
    """

    kind: str
    finding: str
    edits: Sequence[tuple[Statement, str | None]]
    gone: frozenset[Fact]
    new: frozenset[Fact]
    changed: tuple[Change, ...] = ()


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a rule proposes nothing where it could apply."""

    kind: str
    reason: str
