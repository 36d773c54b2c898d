"""What every plot is made with."""

import PIL.Image
import pytest

from rfsq_jax.runs.plots import DOTS_PER_INCH, new_figure, save_figure


def test_panels_come_row_by_row_and_the_file_has_the_size_asked_for(tmp_path):
    figure, panels = new_figure((4.0, 2.0), columns=2, rows=1)
    places = [panel.get_position().x0 for panel in panels]
    assert places == sorted(places)
    save_figure(figure, tmp_path / "plots" / "some.png")
    with PIL.Image.open(tmp_path / "plots" / "some.png") as image:
        assert image.size == (4 * DOTS_PER_INCH, 2 * DOTS_PER_INCH)


def test_what_cannot_be_plotted_leaves_no_file(tmp_path):
    figure, (panel,) = new_figure((2.0, 2.0), columns=1)
    panel.set_title("$\\unknown$")
    with pytest.raises(ValueError, match="unknown"):
        save_figure(figure, tmp_path / "some.png")
    assert list(tmp_path.iterdir()) == []
