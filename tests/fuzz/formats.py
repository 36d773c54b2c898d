"""All formats that are fuzzed; a new one joins by an entry in its family's table."""

from __future__ import annotations

from tests.fuzz import data_formats, foreign_formats, model_formats, run_formats
from tests.fuzz.registry import Format

FORMATS: dict[str, Format] = {
    each.name: each
    for family in (model_formats, run_formats, data_formats, foreign_formats)
    for each in family.FORMATS
}
