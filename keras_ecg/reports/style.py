"""The report's style sheet: system fonts, one accent, both colour schemes, no external resource."""

# Colours of the classes N S V F Q, in HTML and in the charts; they hold on a light and on a dark page.
CLASS_COLOURS = ("#4f7ca8", "#d08700", "#cf3f3f", "#8f5fc2", "#7d8791")

CSS = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #1d2329; --soft: #5d6873; --line: #e4e1dc;
  --accent: #0f766e; --tint: 15 118 110; --warn: #a34a00; --warn-bg: #fff4e5; --warn-line: #f0c48a; --mark: #fdf0ee;
  --paper: #fff8f6; --minor: #f7dcd6; --major: #ecb3a8; --trace: #22272c; --wrong: #b42318; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e7e9ea; --soft: #9aa5ae;
  --line: #2e343a; --accent: #4fc3b5; --tint: 79 195 181; --warn: #ffbe73; --warn-bg: #32250f; --warn-line: #6b4c16;
  --mark: #33211f; --paper: #211a1a; --minor: #342625; --major: #523633; --trace: #f1ecea; --wrong: #ff8a7a; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.2rem; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header, main, footer { max-width: 1120px; margin: 0 auto; padding: 0 1.4rem; }
header { padding-top: 2.6rem; padding-bottom: 1rem; }
.kicker { color: var(--accent); font-weight: 600; letter-spacing: .06em; text-transform: uppercase; font-size: .78rem; }
h1 { font-size: clamp(1.7rem, 4vw, 2.5rem); line-height: 1.15; margin: .25rem 0 .5rem; letter-spacing: -.015em; }
h2 { font-size: 1.35rem; margin: 0 0 .35rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .35rem 0 .8rem; max-width: 76ch; }
.soft, figcaption, caption, .note { color: var(--soft); }
.note, figcaption { font-size: .9rem; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .88em; }
pre { background: rgb(var(--tint) / .07); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  overflow-x: auto; }
nav { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line); }
nav div { max-width: 1120px; margin: 0 auto; padding: .55rem 1.4rem; display: flex; gap: 1.1rem; overflow-x: auto;
  white-space: nowrap; font-size: .88rem; scrollbar-width: none; }
nav a { color: var(--soft); text-decoration: none; }
nav a:hover { color: var(--accent); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.4rem 1.5rem 1.5rem;
  margin: 1.2rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: .9rem; margin: 1.2rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1rem 1.1rem .9rem; }
.card .name { color: var(--soft); font-size: .88rem; }
.card .value { font-size: 2rem; font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; }
.card .value small { font-size: .85rem; font-weight: 400; color: var(--soft); }
.card .range { font-size: .82rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.bar { position: relative; height: 10px; border-radius: 5px; background: rgb(var(--tint) / .10);
  margin: .55rem 0 .35rem; }
.bar i { position: absolute; top: 0; bottom: 0; border-radius: 5px; background: rgb(var(--tint) / .38); }
.bar b { position: absolute; top: -3px; width: 3px; height: 16px; margin-left: -1.5px; border-radius: 2px;
  background: var(--accent); }
.bar u { position: absolute; top: 1px; width: 8px; height: 8px; margin-left: -4px; border: 1.5px solid var(--soft);
  background: var(--card); transform: rotate(45deg); }
.warnings { background: var(--warn-bg); border-color: var(--warn-line); }
.warnings h2 { color: var(--warn); }
.warnings ul { margin: .2rem 0 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .1rem 0 .5rem; font-size: .9rem; caption-side: top; }
th, td { padding: .42rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); font-size: .84rem; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
thead th { white-space: normal; min-width: 4.2rem; }
tbody th { color: var(--ink); font-size: .92rem; vertical-align: middle; }
tbody tr:last-child > * { border-bottom: 0; }
td small, .sd { color: var(--soft); font-size: .82em; }
td .ci { display: block; color: var(--soft); font-size: .78rem; line-height: 1.1; }
.tight td small { display: block; line-height: 1.15; }
.tight tbody th { white-space: normal; min-width: 9rem; }
tr.lead > * { background: rgb(var(--tint) / .08); font-weight: 600; }
tr.worst > * { background: var(--mark); }
tr.group > * { border-top: 2px solid var(--line); }
.text td, .text th { white-space: normal; text-align: left; }
.better { color: var(--accent); font-weight: 600; }
.worse { color: var(--wrong); font-weight: 600; }
.dot { display: inline-block; width: .68em; height: .68em; border-radius: 50%; margin-right: .45em; }
.confusion { width: auto; min-width: min(100%, 640px); }
.confusion td { text-align: center; padding: .55rem .8rem; min-width: 6rem; border: 2px solid var(--card);
  border-radius: 8px; }
.confusion td strong { display: block; font-weight: 600; }
.confusion td span { font-size: .78rem; opacity: .8; }
.confusion thead th { text-align: center; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .35rem 1.4rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .6rem; }
  section { padding: 1.1rem 1rem; } }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 1.2rem; }
figure { margin: .6rem 0; min-width: 0; }
figure svg { width: 100%; height: auto; display: block; }
.strip svg { border: 1px solid var(--line); border-radius: 6px; }
.strip figcaption { margin: .25rem 0 1rem; } .strip strong { color: var(--ink); }
.wrong { color: var(--wrong); font-weight: 600; }
details > summary { cursor: pointer; color: var(--accent); font-weight: 600; margin: .4rem 0; }
footer { color: var(--soft); font-size: .86rem; padding-top: .6rem; padding-bottom: 3rem; }
@media print { nav { display: none; } section, .card { break-inside: avoid; } }
"""
