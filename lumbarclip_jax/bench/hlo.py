"""What a compiled program does in one run, read from its text: collectives, bytes to memory.

The text is that of `compiled.as_text()`, in which one program stands for every chip. An operation
inside a loop counts once for each turn, one inside a branch counts as if it were taken.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Iterator

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
# They name buffers and move nothing; what a call or a loop writes is counted inside it.
NOT_WRITING = {
    "after-all",
    "bitcast",
    "call",
    "conditional",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
    "while",
}
# Operations that change part of their first operand in place: which operand is written.
IN_PLACE = {"dynamic-update-slice": 1, "scatter": 2}

BITS = {"pred": 8, "token": 0}
ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](\{[^}]*\})?")
HEADER = re.compile(r"(ENTRY )?%?([^\s(]+) \(.*\{$")
INSTRUCTION = re.compile(r"\s+(ROOT )?%?(\S+) = (.*)")
OPCODE = re.compile(r" ([a-z][\w\-]*)\(")


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    shape: str
    opcode: str
    rest: str  # from the operands on
    is_root: bool

    @functools.cached_property
    def operands(self) -> list[str]:
        depth, end = 0, 0
        for parenthesis in re.finditer(r"[()]", self.rest):
            depth += 1 if parenthesis[0] == "(" else -1
            if depth == 0:
                end = parenthesis.end()
                break
        return re.findall(r"%([\w.\-]+)", self.rest[:end])

    def called(self, attribute: str) -> str | None:
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.rest)
        return found and found[1]

    def callee(self, attribute: str) -> str:
        """What an operation calls that is nothing without it."""
        if (name := self.called(attribute)) is None:
            raise ValueError(f"{self.opcode} {self.name} calls no {attribute}")
        return name


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of collective in one step, on one chip."""

    count: int
    bytes: int  # of its results
    sent_bytes: int  # put on the links by the chip when the group passes data round a ring


class Program:
    """The computations of a compiled program and how often a step runs each."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        self.loops_of_unknown_length = 0
        current = None
        for line in text.splitlines():
            if line.startswith("}"):
                current = None
            elif current is not None:
                if instruction := _instruction(line):
                    current[instruction.name] = instruction
            elif header := HEADER.match(line):
                current = self.computations[header[2]] = {}
                self.entry = header[2] if header[1] else self.entry
        if not self.entry:
            raise ValueError("the text of the program has no ENTRY computation")
        self.runs: collections.Counter[str] = collections.Counter()
        self.fused: set[str] = set()
        self._count(self.entry, 1)

    def _count(self, name: str, runs: int) -> None:
        self.runs[name] += runs
        for instruction in self.computations[name].values():
            for callee in re.findall(r"branch_computations=\{(.*?)\}", instruction.rest):
                for branch in re.findall(r"[\w.\-]+", callee):
                    self._count(branch, runs)
            for attribute in ("true_computation", "false_computation"):
                if branch := instruction.called(attribute):
                    self._count(branch, runs)
            if instruction.opcode == "while":
                turns = self.turns(instruction)
                self.loops_of_unknown_length += turns is None
                self._count(instruction.callee("body"), runs * (1 if turns is None else turns))
            elif instruction.opcode == "call":
                self._count(instruction.callee("to_apply"), runs)
            elif callee := instruction.called("calls"):
                if instruction.opcode == "fusion":
                    self.fused.add(callee)
                self._count(callee, runs)

    def turns(self, loop: Instruction) -> int | None:
        """Turns of a while loop: what XLA says, or the one constant that its condition has.

        JAX's loops count from 0 by 1 while the index is less than a constant. None: no such loop.
        """
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest):
            return int(known[1])
        condition = list(self.computations[loop.callee("condition")].values())
        for instruction in tuple(condition):
            if callee := instruction.called("calls"):
                condition += self.computations[callee].values()
        constants = [x.rest for x in condition if x.opcode == "constant"]
        limits = [int(value[1]) for rest in constants if (value := re.match(r"\((\d+)\)", rest))]
        compares = [x for x in condition if x.opcode == "compare" and "direction=LT" in x.rest]
        return limits[0] if len(limits) == 1 and len(compares) == 1 else None

    def collectives(self) -> dict[str, Collective]:
        """Collectives of one run by kind, those inside fusions included."""
        totals = {}
        for name, runs in self.runs.items():
            for instruction in self.computations[name].values():
                kind = instruction.opcode.removesuffix("-start")
                if kind not in COLLECTIVES:
                    continue
                size = _result_bytes(instruction)
                sent = round(size * _share_sent(kind, _group_size(instruction.rest)))
                old = totals.get(kind, Collective(0, 0, 0))
                totals[kind] = Collective(
                    old.count + runs, old.bytes + runs * size, old.sent_bytes + runs * sent
                )
        return dict(sorted(totals.items()))

    def written_bytes(self, larger_than_bytes: int = 0) -> int:
        """Bytes that one run writes to arrays of the main memory, without the padding of tiles.

        Counted are the results of all operations that are not fused into others, save those that
        the compiler put into another memory space, as it writes S(1) for a TPU's vector memory. An
        update in place counts what it changes.

        Args:
          larger_than_bytes: leaves out arrays up to this size.
        """
        written = sum(
            runs * changed
            for name, runs in self.runs.items()
            if name not in self.fused
            for instruction in self.computations[name].values()
            for size, changed in self._writes(name, instruction)
            if size > larger_than_bytes
        )
        return int(written)

    def _writes(self, computation: str, instruction: Instruction) -> Iterator[tuple[int, float]]:
        """(bytes of the array, bytes that are written) for each result of an operation."""
        # An asynchronous operation shows its result where it ends.
        if instruction.opcode in NOT_WRITING or instruction.opcode.endswith(("-start", "-update")):
            return
        shapes = [match[0] for match in ARRAY.finditer(instruction.shape)]
        elements = [instruction]
        if instruction.opcode == "fusion":
            computation = instruction.callee("calls")
            body = self.computations[computation]
            root = next(x for x in body.values() if x.is_root)
            elements = [body[name] for name in root.operands] if root.opcode == "tuple" else [root]
        if len(elements) != len(shapes):
            elements = [instruction] * len(shapes)
        for shape, element in zip(shapes, elements, strict=True):
            size = memory_bytes(shape)
            yield size, min(size, self._changed(computation, element))

    def _changed(self, computation: str, instruction: Instruction) -> float:
        """Bytes an operation in place changes; infinite for any other."""
        body = self.computations[computation]
        while instruction.opcode == "bitcast":
            instruction = body[instruction.operands[0]]
        if instruction.opcode not in IN_PLACE:
            return math.inf
        return array_bytes(body[instruction.operands[IN_PLACE[instruction.opcode]]].shape)


def array_bytes(shape: str) -> int:
    """Bytes of all arrays of a shape such as (f32[8,512]{1,0}, u32[])."""
    return sum(_bytes(match) for match in ARRAY.finditer(shape))


def memory_bytes(shape: str) -> int:
    """Like `array_bytes`, of the arrays in the main memory alone."""
    return sum(_bytes(match) for match in ARRAY.finditer(shape) if "S(" not in (match[3] or ""))


def _bytes(match: re.Match) -> int:
    dtype, sizes = match[1], match[2]
    bits = BITS[dtype] if dtype in BITS else int(re.findall(r"\d+", dtype)[0])
    return math.prod(int(size) for size in sizes.split(",") if size) * bits // 8


def _instruction(line: str) -> Instruction | None:
    parts = INSTRUCTION.match(line)
    opcode = parts and OPCODE.search(" " + parts[3])
    if not opcode:
        return None
    # The blank added above: shapes of one array have none before the operation's name.
    shape, rest = parts[3][: opcode.start()], parts[3][opcode.end() - 2 :]
    return Instruction(parts[2], shape, opcode[1], rest, bool(parts[1]))


def _result_bytes(instruction: Instruction) -> int:
    """Bytes of a collective's results; the asynchronous forms list the operands before them."""
    shapes = [match[0] for match in ARRAY.finditer(instruction.shape)]
    if instruction.opcode in ("all-gather-start", "collective-permute-start"):
        operands = len(instruction.operands)
        shapes = shapes[operands : 2 * operands]
    return sum(array_bytes(shape) for shape in shapes)


def _share_sent(kind: str, group: int) -> float:
    """Bytes a chip sends for each byte of its result, round a ring of `group` chips."""
    if kind == "all-reduce":
        return 2 * (group - 1) / group
    if kind == "reduce-scatter":
        return group - 1
    if kind in ("all-gather", "all-to-all", "ragged-all-to-all"):
        return (group - 1) / group
    return 1.0


def _group_size(attributes: str) -> int:
    """Chips of one replica group, in any of the three forms XLA writes."""
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return listed[1].count(",") + 1
    if tiled := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(tiled[1])
    if meshed := re.search(r"replica_groups=@?mesh\[([^\]]*)\] ?\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", meshed[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", meshed[2]))
    return 1
