"""What a compiled program does, read off its text: collectives and cycles, loops counted out.

`cost_analysis()` counts the body of a loop once. Here each computation counts as often as it runs:
a loop's body by its trip count, anything else that is called as often as its caller.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Iterator

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_ROUNDS = {"all-reduce": 2}
WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAME = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = ")
_CALLED = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
_SEVERAL = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_BODY = re.compile(r"\b(?:body|condition)=%?([\w.\-]+)")
_CONDITION = re.compile(r"\bcondition=%?([\w.\-]+)")
_CONSTANT = re.compile(r"= [su]32\[\]\S* constant\((\d+)\)")
_UNKNOWN = 2**63 - 1
_ASYNC = re.compile(r"^async_collective_fusion|^async-collective-done")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_GROUP = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_IOTA_GROUP = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_MESH_GROUP = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]* \{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Program:
    """What one run of a program does on one chip.

    Attributes:
      collectives: how many of each kind.
      sent_by_kind: bytes that a chip sends for them, on rings of those that take part.
      rounds: group size -> how often data goes once around such a group.
      cycles: of the chip, as the compiler estimates them; collectives have none.
      unknown: instructions that run for which the compiler could not estimate any.
    """

    collectives: dict[str, int]
    sent_by_kind: dict[str, float]
    rounds: dict[int, int]
    cycles: int
    unknown: int = 0

    @property
    def sent(self) -> float:
        """Bytes that a chip sends in all."""
        return sum(self.sent_by_kind.values())


def read_program(text: str, chips: int) -> Program:
    """Reads a compiled program's text."""
    computations, entry = _computations(text)
    counts: Counter[str] = Counter()
    sent: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    rounds: Counter[int] = Counter()
    cycles, unknown = 0, 0
    times_of = _times(computations, entry)
    repeated = _later_parts(computations)
    for name, times in times_of.items():
        for line in computations[name]:
            noted = [int(each) for each in _CYCLES.findall(line)]
            cycles += times * sum(each for each in noted if each < _UNKNOWN)
            unknown += times * sum(each >= _UNKNOWN for each in noted)
            if name not in repeated and (found := _COLLECTIVE.search(line)):
                shape, kind, start = found.groups()
                size, group = _result_bytes(shape, bool(start)), group_size(line, chips)
                if name.startswith("all-reduce-scatter"):
                    # The TPU's compiler writes it as a sum of which each chip keeps its slice.
                    kind, size = "reduce-scatter", size // group
                counts[kind] += times
                sent[kind] += times * ring_bytes(kind, size, group)
                # A sum is scattered and gathered; a permutation is one hop of a ring.
                rounds[2 if kind == "collective-permute" else group] += times * _ROUNDS.get(kind, 1)
    kinds = sorted(counts)
    return Program(
        {kind: counts[kind] for kind in kinds},
        {kind: sent[kind] for kind in kinds},
        dict(sorted(rounds.items())),
        cycles,
        unknown,
    )


def ring_bytes(kind: str, result: int, chips: int) -> float:
    """Bytes that a chip sends for a collective with a result of that size."""
    share = (chips - 1) / chips
    factors = {"all-reduce": 2 * share, "reduce-scatter": chips - 1, "collective-permute": 1.0}
    return result * factors.get(kind, share)


def group_size(line: str, chips: int) -> int:
    """How many chips take part in a collective together.

    Raises:
      ValueError: if its groups are written in a way that is not known.
    """
    if listed := _GROUP.search(line):
        return len(listed[1].split(","))
    if iota := _IOTA_GROUP.search(line):
        return int(iota[1])
    if mesh := _MESH_GROUP.search(line):
        axes = dict(axis.split("=") for axis in mesh[1].split(","))
        return math.prod(int(axes[axis]) for axis in mesh[2].split(","))
    if "replica_groups=" in line.replace("replica_groups={}", ""):
        raise ValueError(f"groups of a collective must be listed, got {line.strip()[:300]}")
    return chips


def trip_count(line: str, computations: dict[str, list[str]]) -> int:
    """How often a while loop runs: as the compiler notes it, or the bound of its counter.

    Raises:
      ValueError: if neither can be found.
    """
    if noted := _TRIPS.search(line):
        return int(noted[1])
    condition = _CONDITION.search(line)
    names = [condition[1]] if condition else []
    names += [name for each in names for text in computations[each] for name in _called(text)]
    bounds = {
        bound for name in names for text in computations[name] for bound in _CONSTANT.findall(text)
    }
    if len(bounds) != 1:
        raise ValueError(
            f"a loop must have one bound, got {sorted(bounds)} in {line.strip()[:200]}"
        )
    return int(bounds.pop())


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation, and which is the entry."""
    computations: dict[str, list[str]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = header[2]
            computations[current] = []
            entry = current if header[1] else entry
        elif current:
            computations[current].append(line)
    if not entry:
        raise ValueError("the program must have an ENTRY computation, got none")
    return computations, entry


def _times(computations: dict[str, list[str]], entry: str) -> Counter[str]:
    """How often each computation runs."""
    times: Counter[str] = Counter()

    @functools.cache
    def calls(name: str) -> list[tuple[str, int]]:
        return [each for line in computations[name] for each in _calls(line, computations)]

    def visit(name: str, count: int) -> None:
        times[name] += count
        for called, factor in calls(name):
            visit(called, count * factor)

    visit(entry, 1)
    return times


def _later_parts(computations: dict[str, list[str]]) -> set[str]:
    """Computations that go on with, or end, a collective that another one started.

    The TPU's compiler writes a collective that runs beside products once where it starts, once in
    each fusion meanwhile, and once where it ends.
    """
    return {
        called
        for lines in computations.values()
        for line in lines
        if (named := _NAME.match(line))
        for called in _called(line)
        if _ASYNC.match(named[1]) or _ASYNC.match(called)
    }


def _calls(line: str, computations: dict[str, list[str]]) -> Iterator[tuple[str, int]]:
    looped = set(_BODY.findall(line)) if " while(" in line else set()
    for name in _called(line):
        if name in computations:
            yield name, trip_count(line, computations) if name in looped else 1


def _called(line: str) -> list[str]:
    several = [name for names in _SEVERAL.findall(line) for name in names.split(",")]
    return _CALLED.findall(line) + [name.strip().lstrip("%") for name in several]


def _result_bytes(shape: str, start: bool) -> int:
    """Bytes of a result; a start's also holds its operands and words for synchronisation."""
    sizes = [
        WIDTHS[kind] * math.prod(map(int, filter(None, dims.split(","))))
        for kind, dims in _SHAPE.findall(shape)
        if kind in WIDTHS
    ]
    return max(sizes) if start else sum(sizes)
