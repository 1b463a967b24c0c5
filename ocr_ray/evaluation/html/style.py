"""How the report looks, and how its tables sort: the style and the script that stand inside the page."""

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --paper: #fff; --panel: #f6f8fa;
  --edge: #d1d9e0; --bar: #4f86c6; --whisker: #1f2328; --other: #b35900; --good: #116329;
  --good-back: #d2f4d9; --bad: #a40e26; --bad-back: #ffdfe1; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9aa5b1; --paper: #0d1117;
  --panel: #161b22; --edge: #30363d; --bar: #3f76b5; --whisker: #e6edf3; --other: #f0a35a; --good: #7ee2a0;
  --good-back: #123d22; --bad: #ffa2a8; --bad-back: #55151d; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Noto Sans KR", "Malgun Gothic", "NanumGothic", sans-serif; margin: 0 auto;
  max-width: 1080px; padding: 16px; color: var(--ink); background: var(--paper); }
h1 { font-size: 22px; margin: 8px 0; overflow-wrap: anywhere; } h2 { font-size: 18px; margin: 0 0 8px; }
h3 { font-size: 15px; margin: 16px 0 4px; overflow-wrap: anywhere; } h4 { font-size: 14px; margin: 8px 0 0; }
p { margin: 4px 0 8px; } .faint, small { color: var(--faint); }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0; } a { color: inherit; }
section { border-top: 1px solid var(--edge); padding: 16px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.card { background: var(--panel); border: 1px solid var(--edge); border-radius: 8px; padding: 8px 12px; }
.card b { display: block; font-size: 26px; line-height: 1.3; } .card span { display: block; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
.beside { gap: 0 24px; } summary { cursor: pointer; color: var(--faint); }
.scroll { overflow: auto; max-height: 80vh; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 4px 0 8px; }
th, td { border-bottom: 1px solid var(--edge); padding: 4px 12px 4px 0; text-align: left; }
td { vertical-align: top; } th { vertical-align: bottom; font-weight: 600; }
td.number, th.number { text-align: right; } td.number { white-space: nowrap; } th.number { max-width: 7em; }
td.text { overflow-wrap: break-word; min-width: 4em; max-width: 40em; } td.path { overflow-wrap: anywhere; }
thead { position: sticky; top: 0; background: var(--paper); } th button { all: unset; cursor: pointer; }
 th button:focus-visible { outline: 2px solid var(--bar); }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
.text, .line { unicode-bidi: isolate; white-space: pre-wrap; }
.piece { font-size: 20px; line-height: 1; } .chart { display: block; margin-top: 4px; }
.chart text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.bar { fill: var(--bar); } .axis { stroke: var(--edge); fill: none; } .whisker { stroke: var(--whisker); }
.whisker { stroke-width: 1.5; fill: none; } .other { stroke: var(--other); stroke-width: 2.5; }
.ideal { stroke: var(--faint); stroke-dasharray: 4 4; } .path { stroke: var(--bar); fill: none; }
.key { color: var(--other); } .better { color: var(--good); } .worse { color: var(--bad); }
.sure { font-weight: 700; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
.examples { gap: 12px; } .example { background: var(--panel); border: 1px solid var(--edge); }
.example { border-radius: 8px; padding: 8px 12px; margin: 0; overflow-wrap: anywhere; min-width: 0; }
.example img, td img { display: block; max-width: 100%; height: auto; background: #fff; }
td img { max-height: 48px; max-width: 60vw; width: auto; margin: 0 0 4px; }
.line { margin: 4px 0 0; padding-left: 4em; text-indent: -4em; }
.line b { display: inline-block; white-space: nowrap; }
.line b { width: 5em; text-indent: 0; font-weight: 400; color: var(--faint); font-size: 12px; }
ins { color: var(--good); background: var(--good-back); text-decoration: underline; }
del { color: var(--bad); background: var(--bad-back); text-decoration: line-through; }
@media (max-width: 600px) { body { padding: 10px; } .wide { width: 72px; }
  th, td { padding-right: 8px; } }
@media print { :root { color-scheme: light; } body { padding: 0; max-width: none; font-size: 11px; }
  nav, summary { display: none; } .scroll { overflow: visible; max-height: none; } .wide { width: 96px; }
  thead { position: static; } tr, .example, .card, .chart { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; } .card b { font-size: 20px; } .piece { font-size: 14px; }
  .cards { grid-template-columns: repeat(5, 1fr); } .examples { grid-template-columns: 1fr 1fr; }
  ins, del, .card, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = button.closest("table").tBodies[0];
    const place = head.cellIndex, down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    const key = row => row.cells[place].dataset.sort, rows = [...body.rows];
    const numbers = rows.every(row => !isNaN(key(row)));
    const compare = (x, y) => numbers ? x - y : x.localeCompare(y, undefined, { numeric: true });
    const order = (x, y) => (x === "") - (y === "") || down * compare(x, y);
    body.append(...rows.sort((a, b) => order(key(a), key(b))));
  });
}
"""
"""A click on a column's head sorts its table, a second one the other way; cells without a value stay last."""


def security_policy() -> str:
    """Return a content security policy under which the page runs this script only, and fetches nothing."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
