"""One case: a format, a number, and all that follows from them."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from tests.fuzz.formats import FORMATS
from tests.fuzz.instances import Damage, Files, make_files, scratch_folder, write_files
from tests.fuzz.mutators import FOLDERS, damage
from tests.fuzz.outcome import LIMIT_SECONDS, Outcome, judge
from tests.fuzz.registry import Format
from tests.fuzz.summary import fingerprint


@dataclasses.dataclass(frozen=True)
class Case:
    """What is run.

    Attributes:
      format: its name.
      number: of the case within the format.
      seed: of the campaign.
    """

    format: str
    number: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Result:
    """A case that was run.

    Attributes:
      case: which.
      mutator: what was done.
      path: the file that it was done to.
      outcome: how it ended.
    """

    case: Case
    mutator: str
    path: str
    outcome: Outcome


def spread(formats: list[str], count: int, seed: int) -> Iterator[Case]:
    """As many cases of each format, by turns."""
    for index in range(count):
        yield Case(formats[index % len(formats)], index // len(formats), seed)


@functools.cache
def instances(name: str) -> tuple[dict[str, bytes], dict[str, bytes], frozenset[str]]:
    """Two valid folders of a format, and the fingerprints of those that load."""
    kind = FORMATS[name]
    files, other = (make_files(kind.make, seed) for seed in range(2))
    known = {_fingerprint_of(kind, files)}
    # Another run's options are not these, and rightly refused.
    with contextlib.suppress(ValueError):
        known.add(_fingerprint_of(kind, other))
    return files, other, frozenset(known)


def damaged(case: Case) -> Damage:
    """The folder of a case."""
    entropy = [case.seed, case.number, zlib.crc32(case.format.encode())]
    files, other, _ = instances(case.format)
    return damage(np.random.default_rng(entropy), files, other)


def run_case(
    case: Case,
    begin: Callable[[Damage], None] = lambda found: None,
    limit: float = LIMIT_SECONDS,
) -> Result:
    """Damages a folder and loads it in this process.

    Args:
      case: which.
      begin: is called before it is loaded.
      limit: seconds that loading may take.
    """
    kind, found = FORMATS[case.format], damaged(case)
    files, _, known = instances(case.format)
    begin(found)
    if kind.is_log and _is_shorter(files, found.files):
        outcome = Outcome("same")
    else:
        must_load = kind.must_load and isinstance(found.files.get(found.path), bytes)
        with scratch_folder() as folder:
            write_files(folder, found.files)
            outcome = judge(
                kind.load,
                folder,
                known,
                covered=is_covered(kind, found),
                must_load=must_load,
                limit=limit,
            )
    return Result(case, found.mutator, found.path, outcome)


def is_covered(kind: Format, found: Damage) -> bool:
    """Whether a checksum tells that the files are not those that were written."""
    if found.forged or (found.mutator in FOLDERS and not kind.exchange_noticed):
        return False
    return fnmatch.fnmatch(found.path, kind.covered)


def _is_shorter(files: dict[str, bytes], changed: Files) -> bool:
    """Whether each file has whole lines of the intact one, each at most once."""
    for path, content in changed.items():
        if not isinstance(content, bytes) or (content and not content.endswith(b"\n")):
            return False
        lines = content.splitlines(keepends=True)
        if len(set(lines)) < len(lines) or not set(lines) <= set(files[path].splitlines(True)):
            return False
    return True


def _fingerprint_of(kind: Format, files: dict[str, bytes]) -> str:
    with scratch_folder() as folder:
        write_files(folder, dict(files))
        return fingerprint(kind.load(folder))
