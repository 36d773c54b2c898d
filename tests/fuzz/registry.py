"""What the fuzzer needs to know of a file format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A file format of ours, or one that we read.

    Attributes:
      name: stands in tables and on the command line.
      make: writes a small valid instance into a folder, another one for each seed.
      load: reads it fully, with the library's own reader; returns all that a caller gets, as
        `summary.fingerprint` takes it.
      covered: pattern of the files that a hash or checksum covers, so that content which loads
        otherwise than it was written is a failure; empty for none.
      exchange_noticed: whether that also tells whole files of other instances apart.
      is_log: whether fewer whole lines are a shorter log, and no damage.
      must_load: whether damage within a file must never be an error.
      promise: what users can rely on, in one sentence.
    """

    name: str
    make: Callable[[Path, int], object]
    load: Callable[[Path], Any]
    covered: str = ""
    exchange_noticed: bool = True
    is_log: bool = False
    must_load: bool = False
    promise: str
