"""A thin slice of `make fuzz`: no loader breaks its promise on any of these files."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.fuzz.campaign import run_cases
from tests.fuzz.cases import spread
from tests.fuzz.formats import FORMATS
from tests.fuzz.table import describe

CASES_PER_FORMAT = 10


def broken_promises(cases_per_format, seed):
    cases = spread(list(FORMATS), cases_per_format * len(FORMATS), seed)
    found = defaultdict(list)
    for result in run_cases(cases, workers=1):
        if result.outcome.failed:
            found[result.case.format].append(describe(result))
    return found


@pytest.fixture(scope="module")
def broken():
    return broken_promises(CASES_PER_FORMAT, seed=0)


@pytest.mark.parametrize("name", FORMATS)
def test_loaders_keep_their_promise(broken, name):
    assert broken[name] == []


@pytest.mark.slow
def test_loaders_keep_their_promise_on_many_files():
    assert broken_promises(100, seed=1) == {}
