"""How a report looks: light and dark, wide and narrow, on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --raised: #f4f6f8; --line: #d5dae0; --text: #1b1f24; --quiet: #57606a;
  --link: #0959b8; --bar: #6fa8dc; --warn: #fff4d6; --warn-line: #c28a00;
  --bad: #fde8e4; --bad-line: #c0391b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171b; --raised: #1e232a; --line: #39414b; --text: #e7eaee; --quiet: #a3adb8;
    --link: #7db8ff; --bar: #3f78b0; --warn: #362b0c; --warn-line: #d9a520;
    --bad: #3d1c15; --bad-line: #ec7a5f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.quiet, caption, figcaption { color: var(--quiet); font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; padding: 0; }
.cards div { background: var(--raised); border: 1px solid var(--line); border-radius: 6px;
  padding: .6rem .8rem; }
.cards dt { color: var(--quiet); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards small { display: block; font-size: .8rem; font-weight: 400; color: var(--quiet); }
.note { border-left: 4px solid var(--line); background: var(--raised); padding: .6rem 1rem;
  margin: .75rem 0; border-radius: 0 6px 6px 0; }
.note.warn { background: var(--warn); border-color: var(--warn-line); }
.note.bad { background: var(--bad); border-color: var(--bad-line); }
.note ul { margin: .25rem 0; padding-left: 1.2rem; }
.note :first-child { margin-top: 0; }
.scroll { overflow-x: auto; margin: .75rem -6px; padding: 0 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
td, thead th:not(:first-child) { white-space: nowrap; }
thead th { color: var(--quiet); font-size: .85rem; font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 400; }
th:first-child { padding-left: 0; }
.total > * { font-weight: 600; }
.rates td:not(:first-child), .rates thead th:not(:first-child),
.numbers td, .numbers thead th:not(:first-child) { text-align: right; }
.named { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 0 1.25rem; }
.named > svg { margin-top: .15rem; }
.index { color: var(--quiet); margin-right: .5rem; }
.parts tbody th { white-space: nowrap; }
.parts td:last-child, .parts thead th:last-child { text-align: left; white-space: normal; }
svg { display: block; overflow: visible; }
svg.rate, svg.stack { width: 100%; }
svg.stack rect { stroke: var(--page); stroke-width: 1.5px; }
svg.swatch { display: inline-block; margin-right: .5rem; }
.mark { stroke: var(--line); }
.bar { fill: var(--bar); }
.whisker { stroke: var(--text); stroke-width: 1.5px; }
.point { fill: var(--text); }
.scale { display: flex; font-weight: 400; }
.scale span { flex: 1; text-align: center; }
.scale span:first-child { text-align: left; }
.scale span:last-child { text-align: right; }
.range { display: block; color: var(--quiet); font-size: .85rem; font-weight: 400; }
.values td, pre, code { font-size: .85rem;
  font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
.values td { white-space: normal; overflow-wrap: anywhere; }
.values tbody th { white-space: nowrap; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px;
  padding: .75rem; margin: .5rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figcaption { margin-bottom: .35rem; }
figcaption strong { display: block; color: var(--text); font-weight: 600; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
figure .scroll { margin: 0; padding: 0; }
summary { cursor: pointer; padding: .4rem 0; color: var(--link); }
@media (max-width: 40rem) {
  main { padding: 1rem .9rem 3rem; }
  h1 { font-size: 1.35rem; }
  .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .cards dd { font-size: 1.15rem; overflow-wrap: anywhere; }
  .named { grid-template-columns: minmax(0, 1fr); gap: .3rem; }
  th, td { padding: .45rem .3rem; }
  .wide { display: none; }
  figure img { max-width: none; height: 128px; }
}
@media print { main { max-width: none; } .scroll { overflow: visible; } }
"""
