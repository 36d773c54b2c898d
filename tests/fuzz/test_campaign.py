"""Planted loaders: each way to break a promise is found, and counted as what it is."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from tests.fuzz import cases, outcome
from tests.fuzz.campaign import run_cases
from tests.fuzz.cases import Case, Result, run_case, spread
from tests.fuzz.formats import FORMATS
from tests.fuzz.instances import Damage
from tests.fuzz.outcome import Outcome, judge
from tests.fuzz.planted import FILE, LOADERS, format_of, read, serve_planted, wait
from tests.fuzz.summary import fingerprint
from tests.fuzz.table import BEGIN, END, count, figures, text_table, write_docs

LIMIT = 8.0


@pytest.fixture(scope="module")
def ends():
    chosen = [Case(name, 3, 0) for name in LOADERS]
    return {each.case.format: each for each in run_cases(chosen, 2, LIMIT, serve_planted)}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOADERS)
def test_every_broken_promise_is_counted_as_what_it_is(ends, name):
    assert ends[name].outcome.kind == LOADERS[name][1]


@pytest.mark.slow
def test_the_worker_after_a_crash_goes_on(ends):
    assert ends.keys() == LOADERS.keys()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FILE).write_bytes(b"{}")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"covered": True}, "silent"), ({"covered": False}, "changed")],
)
def test_other_content_is_allowed_where_nothing_covers_it(folder, options, kind):
    assert judge(read, folder, frozenset(), **options).kind == kind


def test_known_content_is_no_damage(folder):
    known = frozenset({fingerprint(b"{}")})
    assert judge(read, folder, known, covered=True) == Outcome("same")


def test_some_files_may_not_be_refused(folder):
    load = LOADERS["refuses"][0]
    assert judge(load, folder, frozenset(), covered=False).kind == "refused"
    assert judge(load, folder, frozenset(), covered=False, must_load=True).kind == "internal"


def test_errors_say_where_they_come_from_but_not_the_folder(folder):
    found = judge(LOADERS["refuses"][0], folder, frozenset(), covered=True)
    assert found.detail == f"ValueError: {folder.name}/{FILE} is damaged"
    assert found.where.endswith("refuse")


def test_a_loader_that_waits_is_stopped(folder):
    assert judge(wait, folder, frozenset(), covered=True, limit=0.05).kind == "hang"


@pytest.mark.parametrize(
    ("change", "covered"),
    [
        ({}, True),
        ({"forged": True}, False),
        ({"path": "config.json"}, False),
        ({"mutator": "swap two files"}, False),
    ],
)
def test_checksums_of_records_cover_no_forgery_and_no_exchange(change, covered):
    found = Damage({}, "truncate", "a.tfrecord-00000-of-00001")
    assert cases.is_covered(FORMATS["rlds"], dataclasses.replace(found, **change)) is covered


def test_fewer_whole_lines_are_a_shorter_log():
    lines = b"1\n2\n3\n"
    for content, shorter in ((b"3\n1\n", True), (b"1\n2", False), (b"1\n1\n", False), (b"", True)):
        assert cases._is_shorter({"log": lines}, {"log": content}) is shorter


def test_a_case_is_the_same_each_time(monkeypatch):
    monkeypatch.setitem(FORMATS, "refuses", format_of("refuses"))
    found = [run_case(each) for each in spread(["refuses"], 10, seed=4) for _ in range(2)]
    assert found[::2] == found[1::2]
    assert len({(each.mutator, each.path) for each in found}) > 3


def result(name, kind):
    return Result(Case(name, 7, 0), "truncate", "file.json", Outcome(kind, "ValueError: x"))


def test_failures_come_with_the_command_that_repeats_them():
    results = [result("rlds", "refused"), result("rlds", "hang"), result("features", "same")]
    found = figures(results)
    assert (found["cases"], found["failed"]) == (3, 1)
    assert found["counts"] == {"features": {"same": 1}, "rlds": {"refused": 1, "hang": 1}}
    again = "python -m tests.fuzz --only rlds --case 7 --seed 0"
    assert [each["again"] for each in found["failures"]["hang"]] == [again]
    assert text_table(count(results)).splitlines()[-1].split()[:3] == ["all", "3", "1"]


def test_the_page_keeps_its_prose(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_docs(page, {"rlds": Counter(refused=2)})
    before, _, table = page.read_text().partition(BEGIN)
    assert before == "before\n"
    assert FORMATS["rlds"].promise in table
    assert "old" not in table
    assert table.endswith(f"{END}\nafter\n")
    page.write_text("no table")
    with pytest.raises(ValueError, match=r"page\.md must be a page with"):
        write_docs(page, {})


def test_all_kinds_are_known():
    assert set(outcome.FAILURES) < set(outcome.KINDS)
