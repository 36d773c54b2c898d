"""A page holds films of its own run and nothing else of the machine that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rfsq_jax.evaluation.report.page import read_strips, write_report
from rfsq_jax.runs.descriptions import sealed
from rfsq_jax.runs.json_files import write_json
from tests.support.reports import sample_results

OUTSIDE = ["../secret.jpg", "{folder}/../secret.jpg", "videos/../../secret.jpg", "link.jpg",
           "links/secret.jpg", "circle.jpg", "a\0b", 3]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder beside a file that is not its own."""
    folder = tmp_path / "run"
    (folder / "videos").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "links").symlink_to(tmp_path)
    (folder / "circle.jpg").symlink_to("circle.jpg")
    return folder


@pytest.mark.parametrize("kind", ["video", "filmstrip"])
@pytest.mark.parametrize("name", [*OUTSIDE, "/etc/passwd", ".."], ids=str)
def test_films_outside_are_refused(folder: Path, kind: str, name: Any) -> None:
    name = name.format(folder=folder) if isinstance(name, str) else name
    results = sample_results()
    failed = next(each for each in results["figures"]["episodes"] if not each["success"])
    failed[kind] = name
    write_json(folder / "results.json", sealed(results))
    with pytest.raises(ValueError, match=r"results\.json: films must lie within the run's folder"):
        write_report(folder)
    assert not (folder / "report.html").exists()
    with pytest.raises(ValueError, match="films must lie within"):
        read_strips(folder, [{"filmstrip": name}])


def test_films_inside_are_shown_and_lost_ones_left_out(folder: Path) -> None:
    (folder / "videos" / "a.jpg").write_bytes(b"film")
    (folder / "videos" / "b.jpg").symlink_to("a.jpg")
    episodes = [{"filmstrip": f"videos/{name}.jpg"} for name in "abc"]
    assert list(read_strips(folder, episodes)) == ["videos/a.jpg", "videos/b.jpg"]
