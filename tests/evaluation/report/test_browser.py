"""The page of a run in headless Chromium, on a desk and on a phone, by day and by night."""

import html
import itertools
import json
import shutil
import subprocess

import pytest

from rfsq_jax.evaluation.report.page import report_page
from tests.support.processes import LIMIT_SECONDS
from tests.support.reports import EVIL, sample_results, sample_strips

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

# Chromium's windows have a least width; a frame of any width lays its page out as a phone does.
HARNESS = """<!doctype html><body style="margin: 0">
<iframe id="page" width="{width}" height="900" style="border: 0" srcdoc="{page}"></iframe>
<pre id="seen"></pre>
<script>{script}</script>
"""
SCRIPT = """
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
function light(colour) {
  const [r, g, b] = numbers(colour).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(view, node) {
  for (; node; node = node.parentElement) {
    const colour = view.getComputedStyle(node).backgroundColor;
    if (numbers(colour)[3] !== 0) return colour;
  }
}
function contrast(view, node) {
  const pair = [light(view.getComputedStyle(node).color), light(behind(view, node))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}
const width = node => node.getBoundingClientRect().width;
window.onload = () => {
  const view = document.getElementById('page').contentWindow, page = view.document;
  page.querySelectorAll('details').forEach(each => each.open = true);
  const spoken = [...page.querySelectorAll('main *')].filter(
    node => [...node.childNodes].some(each => each.nodeType === 3 && each.data.trim()));
  const seen = {
    wide: page.documentElement.scrollWidth,
    background: light(view.getComputedStyle(page.body).backgroundColor),
    contrast: Math.min(...spoken.map(node => contrast(view, node))),
    small: Math.min(...spoken.map(node => parseFloat(view.getComputedStyle(node).fontSize))),
    rates: [...page.querySelectorAll('.rates svg.rate')].map(
      each => width(each.querySelector('.bar')) / width(each)),
    whiskers: [...page.querySelectorAll('.rates svg.rate')].map(
      each => width(each.querySelector('.whisker')) / width(each)),
    stack: [...page.querySelectorAll('svg.stack rect')].map(each => each.width.baseVal.value),
    stackWidth: width(page.querySelector('svg.stack')),
    images: [...page.images].map(each => each.naturalWidth),
    strip: width(page.querySelector('figure img')),
    loaded: view.performance.getEntriesByType('resource').map(each => each.name)
      .filter(name => !name.startsWith('data:')),
    scripts: page.scripts.length,
    title: page.title,
  };
  document.getElementById('seen').textContent = JSON.stringify(seen);
};
"""
DARK = "--blink-settings=preferredColorScheme=0"
WIDTHS, SCHEMES = (390, 1200), ("light", "dark")

pytestmark = pytest.mark.skipif(not BROWSER, reason="needs chromium, which .ci/run installs")


def look(folder, page, width, scheme):
    """What a browser makes of the page."""
    harness, profile = folder / "harness.html", folder / "profile"
    harness.write_text(HARNESS.format(width=width, page=html.escape(page), script=SCRIPT))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--dump-dom"]
    options += [DARK] if scheme == "dark" else []
    done = subprocess.run(
        [BROWSER, *options, harness.as_uri()],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    # A blocked request or a damaged attribute is a remark of the console.
    assert "CONSOLE" not in done.stderr
    seen = done.stdout.partition('<pre id="seen">')[2].partition("</pre>")[0]
    return json.loads(html.unescape(seen))


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """What the browser saw, by width and colour scheme."""
    results = sample_results()
    results["figures"]["suites"]["libero_object"]["tasks"][0]["instruction"] = EVIL
    page = report_page(results, sample_strips(results))
    return {
        (width, scheme): look(tmp_path_factory.mktemp("browser"), page, width, scheme)
        for width, scheme in itertools.product(WIDTHS, SCHEMES)
    }


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_readable(views, width, scheme):
    seen = views[width, scheme]
    assert seen["wide"] == width, "the page scrolls sideways"
    assert (seen["background"] < 0.1) == (scheme == "dark")
    # The least that the Web Content Accessibility Guidelines ask of text.
    assert seen["contrast"] >= 4.5
    assert seen["small"] >= 12
    # On a phone the strip keeps its height and scrolls; on a desk it fits.
    assert (seen["strip"] == 1024) == (width == 390)


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_are_as_long_as_their_rates(views, width):
    seen, suites = views[width, "light"], sample_results()["figures"]["suites"].values()
    rows = [row for suite in suites for row in (*suite["tasks"], suite)]
    assert seen["rates"] == pytest.approx([row["rate"] for row in rows], abs=0.01)
    lengths = [row["interval"][1] - row["interval"][0] for row in rows]
    assert seen["whiskers"] == pytest.approx(lengths, abs=0.02)
    assert sum(seen["stack"]) == pytest.approx(seen["stackWidth"], abs=1)
    assert seen["stack"][0] / seen["stackWidth"] == pytest.approx(300 / 437, abs=0.01)


def test_nothing_is_loaded_and_nothing_runs(views):
    for seen in views.values():
        assert seen["loaded"] == []
        assert seen["scripts"] == 0
        assert seen["images"] == [1024] * 6
        assert seen["title"].startswith("Policy small: 75.0% on libero_object")
