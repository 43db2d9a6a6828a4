"""The style sheet of a report: light or dark as the reader's system prefers, small screens, print."""

from __future__ import annotations

# The cells' colours are those of the pictures (Okabe and Ito), lighter where the page is dark.
STYLE = """
:root { color-scheme: light dark;
  --page: #ffffff; --text: #1c1e21; --faint: #5c636b; --line: #d8dce0; --grid: #e3e3e3; --panel: #f5f6f8;
  --link: #0b5fa5; --warn: #8a4b00; --warn-back: #fff4e0;
  --cell-0: #0072b2; --cell-1: #d55e00; --cell-2: #009e73; --cell-3: #cc79a7; --cell-4: #e69f00; --cell-5: #56b4e9;
  --cell-6: #000000; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15181c; --text: #e6e8ea; --faint: #a2abb4; --line: #363c43; --grid: #2d3238; --panel: #1d2126;
  --link: #7cc0ff; --warn: #ffc46b; --warn-back: #33270f;
  --cell-0: #4aa8e0; --cell-1: #ff8a3d; --cell-2: #2fd0a0; --cell-3: #e6a3c8; --cell-4: #f2b93b; --cell-5: #8fd0f5;
  --cell-6: #f2f2f2; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p, ul, dl { margin: .5rem 0; }
ul { padding-left: 1.2rem; }
.sub { color: var(--faint); margin: 0; }
.note { background: var(--warn-back); color: var(--warn); border-left: 4px solid currentColor; padding: .5rem .8rem;
  margin: .8rem 0; }
.note p { margin: .2rem 0; }
code, pre { font: .87em/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem;
  overflow-x: auto; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; text-align: right; vertical-align: bottom; }
th:first-child, td:first-child, table.words th, table.words td { text-align: left; }
td { white-space: nowrap; }
table.words td, td.long { white-space: normal; overflow-wrap: anywhere; }
td:first-child { font-weight: 600; }
.key { display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .45em; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; max-width: 46rem; }
figure .narrow { display: none; }
figcaption { color: var(--faint); font-size: .88rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--link); }
small { color: var(--faint); font-size: .85em; white-space: nowrap; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; font-size: .93rem; }
.facts dt { margin: 0; color: var(--faint); }
.facts dd { overflow-wrap: anywhere; }
table.matrix { width: auto; }
table.matrix th, table.matrix td { text-align: center; min-width: 2.6rem; }
table.matrix th[scope="row"] { text-align: right; }
table.matrix td:first-of-type { font-weight: 400; }
footer { margin-top: 3rem; color: var(--faint); font-size: .85rem; }
@media screen and (max-width: 44rem) {
  body { padding: 1rem .9rem 3rem; }
  figure .wide { display: none; }
  figure .narrow { display: block; }
  table.cards, table.cards tbody, table.cards tr, table.cards td { display: block; width: 100%; }
  table.cards thead { display: none; }
  table.cards tr { border: 1px solid var(--line); border-radius: 8px; margin: .6rem 0; padding: .35rem .7rem; }
  table.cards td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .16rem 0;
    text-align: right; white-space: normal; }
  table.cards td::before { content: attr(data-label); flex: none; max-width: 55%;
    color: var(--faint); font-weight: 400; text-align: left; }
  table.cards td br { display: none; }
  table.matrix { font-size: .8rem; }
  table.matrix th, table.matrix td { min-width: 1.5rem; padding: .3rem .12rem; }
  .facts { display: block; }
  .facts dt { margin-top: .5rem; }
  table.cards td:first-child { display: block; text-align: left; font-size: 1rem; }
  table.cards td:first-child::before { content: none; }
}
@media print {
  :root { color-scheme: light; --page: #fff; --text: #000; --faint: #444; --line: #bbb; --grid: #ddd; --panel: #fff;
    --link: #000; --warn: #000; --warn-back: #fff;
    --cell-0: #0072b2; --cell-1: #d55e00; --cell-2: #009e73; --cell-3: #cc79a7; --cell-4: #e69f00; --cell-5: #56b4e9;
    --cell-6: #000000; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2, h3 { break-after: avoid; }
  figure, tr, .note { break-inside: avoid; }
  .scroll { overflow: visible; }
  td { white-space: normal; }
  details::details-content { content-visibility: visible; height: auto; }
}
"""
