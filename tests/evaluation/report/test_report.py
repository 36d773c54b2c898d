"""The page of a run, read by a parser."""

import re
from html.parser import HTMLParser

import pytest

from rfsq_jax.evaluation.report.charts import rate_bar, stacked_bar
from rfsq_jax.evaluation.report.page import failures_to_show, report_page, write_report
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.intervals import wilson
from rfsq_jax.runs.json_files import write_json
from tests.support.reports import EVIL, record, sample_results, sample_strips, with_errors

LINKS = ("src", "href", "action", "data", "poster", "srcset", "xlink:href")


class Reader(HTMLParser):
    """Elements with attributes, and the text of each element without its markup."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.cells, self.text = [], [], [], ""
        self.feed(page)
        assert self.open == [], "elements left open"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag in ("th", "td", "title", "h1"):
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and {"th", "td", "title", "h1"} & set(self.open):
            self.cells[-1] += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def results():
    return sample_results()


def test_every_task_has_its_rate_and_wilson_interval(results):
    reader = Reader(report_page(results, sample_strips(results)))
    for suite in results["figures"]["suites"].values():
        for task in suite["tasks"]:
            place = reader.cells.index(f"{task['index']}{task['instruction']}")
            low, high = wilson(4 - task["index"], 4)
            assert reader.cells[place + 1] == f"{4 - task['index']}/4"
            assert reader.cells[place + 2] == (
                f"{(4 - task['index']) / 4:.1%}{100 * low:.1f}\N{EN DASH}{high:.1%}"
            )
            reader.cells[place] = "seen"
    assert "9/12" in reader.cells


def test_the_page_holds_what_a_reader_needs_to_judge_and_repeat_the_run(results):
    reader = Reader(report_page(results, sample_strips(results)))
    for each in (*results["figures"]["deviations"], *results["figures"]["warnings"]):
        assert each in reader.text
    assert "python -m eval.libero --tasks 0 1 2 --output 'runs/two words'" in reader.text
    for part, shown in {
        "render": "300",
        "backbone": "30.0",
        "physics": "100",
        "decode": "2.00",
    }.items():
        assert reader.cells[reader.cells.index(part) + 1] == shown
    for name, shown in {
        "tokens of layer 1": "50.0%",
        "whole steps": "37.5%",
        "step 2": "25.0%",
    }.items():
        assert reader.cells[reader.cells.index(name) + 1] == shown
    assert "An early exit would answer 62.5% of the questions." in reader.text
    assert reader.cells[reader.cells.index("mujoco") + 1] == "3.3.2"
    links = {each["href"] for each in reader.named("a")}
    assert links == {each["video"] for each in results["figures"]["episodes"]}


def test_nothing_is_loaded_from_elsewhere(results):
    page = report_page(results, sample_strips(results))
    reader = Reader(page)
    for _, attributes in reader.elements:
        for name in LINKS:
            address = attributes.get(name, "")
            assert address.startswith("data:image/jpeg;base64,") or ":" not in address
            assert not address.startswith("/")
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in reader.elements}
    assert not re.search(r"url\(|@import|https?://|\son\w+=", page)


def test_every_picture_and_link_has_words_and_tables_have_headers(results):
    reader = Reader(report_page(results, sample_strips(results)))
    assert len(reader.named("img")) == 6
    assert len({each["alt"] for each in reader.named("img")}) == 6
    assert len({each["aria-label"] for each in reader.named("a")}) == 24
    for each in reader.named("svg"):
        assert each.get("aria-hidden") == "true" or each["aria-label"]
    assert all(each["scope"] in ("row", "col") for each in reader.named("th"))
    assert len(reader.named("caption")) == len(reader.named("table"))
    names = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(set(names)) == len(names)


def test_whatever_strings_hold_stays_text(results):
    calm = Reader(report_page(results, {}))
    figures = results["figures"]
    figures["policy"]["name"] = figures["warnings"][0] = figures["simulator"]["renderer"] = EVIL
    figures["suites"]["libero_object"]["tasks"][0]["instruction"] = EVIL
    figures["episodes"][0]["video"] = f"videos/{EVIL}.mp4"
    results["command"][-1] = results["config"]["policy"] = EVIL
    wild = Reader(report_page(results, {}))
    assert [name for name, _ in wild.elements] == [name for name, _ in calm.elements]
    assert wild.text.count(EVIL) >= 6
    broken = Reader(report_page(with_errors(results), {}))
    assert broken.text.count(EVIL) >= 3
    assert not {"script", "img"} & {name for name, _ in broken.elements}


def test_errors_leave_no_rate_on_the_page(results):
    reader = Reader(report_page(with_errors(results), {}))
    assert "no rate, 1 episode ended in errors" in reader.text
    assert "libero_object task 1 trial 2: ValueError" in reader.text
    assert "%" not in reader.text


def test_official_runs_without_a_draft_or_failures_say_so(results):
    figures = results["figures"]
    figures |= {"deviations": [], "warnings": [], "draft": None}
    figures["time"]["policy"] = {"preprocess": 0.001, "backbone": 0.03, "heads": 0.004}
    figures["episodes"] = [each for each in figures["episodes"] if each["success"]]
    reader = Reader(report_page(results, {}))
    for said in ("without deviations", "has no draft", "Every episode ended in success"):
        assert said in reader.text
    assert "decode" not in reader.cells
    assert "Not the official" not in reader.text


def test_tasks_take_turns_when_there_are_too_many_failures():
    episodes = [
        vars(record("libero_object", task, trial, task == 1 and trial == 0))
        for task in range(3)
        for trial in range(5)
    ]
    shown = [(each["task"], each["trial"]) for each in failures_to_show(episodes, 7)]
    assert shown == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert len(failures_to_show(episodes, 100)) == 14
    episodes[0]["filmstrip"] = None
    assert len(failures_to_show(episodes, 100)) == 13


def test_write_report_embeds_the_strips_that_are_there(tmp_path, results):
    write_json(tmp_path / "results.json", sealed(results))
    failed = [each for each in results["figures"]["episodes"] if not each["success"]]
    path = tmp_path / failed[0]["filmstrip"]
    path.parent.mkdir()
    path.write_bytes(b"\xff\xd8 moments")
    reader = Reader(write_report(tmp_path).read_text())
    assert [each["src"] for each in reader.named("img")] == [
        "data:image/jpeg;base64,/9ggbW9tZW50cw=="
    ]
    assert "1 of 6 failures" in reader.text


def test_charts_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="low <= rate"):
        rate_bar(0.5, (0.6, 0.7))
    with pytest.raises(ValueError, match="none negative"):
        stacked_bar({"render": 1.0, "physics": -0.5}, "time")
