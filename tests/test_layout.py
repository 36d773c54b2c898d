"""The plan of the house: dependencies point one way, files stay short, nothing imports commands."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rfsq_jax"
FLOORS = (
    ("parallel",),
    ("runs",),
    ("interop",),
    ("rfsq",),
    ("data",),
    ("libero", "tokenizers"),
    ("backbones",),
    ("features", "heads"),
    ("policies",),
    ("training", "evaluation"),
)
"""From the ground up: a room imports from its own floor and from those below."""

UPWARDS = {("tokenizers", "training")}
"""`ActionTokenizer.fit` trains, and imports the recipe when it is called."""

LONGEST = 250


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The full names of all modules that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_imports() -> set[tuple[str, str]]:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    pairs = set()
    for path in modules(PACKAGE):
        home = path.relative_to(PACKAGE).parts[0]
        for name in imported(path):
            parts = name.split(".")
            if home in rooms and parts[0] == "rfsq_jax" and parts[1] in rooms - {home}:
                pairs.add((home, parts[1]))
    return pairs


def test_every_room_is_on_a_floor():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == {room for floor in FLOORS for room in floor}


def test_dependencies_point_one_way():
    height = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    assert {pair for pair in room_imports() if height[pair[0]] < height[pair[1]]} == UPWARDS


def test_rooms_of_one_floor_do_not_need_each_other_both_ways():
    pairs = room_imports() - UPWARDS
    assert not {pair for pair in pairs if pair[::-1] in pairs}


def test_no_import_circle():
    """Between modules, by what is imported at their top; a circle would hang on import order."""
    graph = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in modules(PACKAGE)}
    edges = {name: top_imports(path, set(graph)) for name, path in graph.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def top_imports(path: Path, known: set[str]) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
    return found & known


@pytest.mark.parametrize("folder", ["rfsq_jax", "configs"])
def test_the_library_knows_no_command(folder):
    for path in modules(ROOT / folder):
        heads = {name.split(".")[0] for name in imported(path)}
        assert not heads & {"train", "eval", "tests"}, path


def test_files_are_short():
    folders = ("rfsq_jax", "train", "eval", "configs")
    lengths = {p: len(p.read_text().splitlines()) for f in folders for p in modules(ROOT / f)}
    assert not {path: lines for path, lines in lengths.items() if lines > LONGEST}


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.glob("*/**/__init__.py")), ids=lambda path: path.parent.name
)
def test_tables_of_contents_name_what_is_there(path):
    contents = ast.get_docstring(ast.parse(path.read_text())) or ""
    named = re.findall(r"^(\w+(?:, \w+)*)  +\S", contents, re.MULTILINE)
    there = {each.stem for each in path.parent.iterdir()}
    assert {name for names in named for name in names.split(", ")} <= there
