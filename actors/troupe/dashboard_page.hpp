// The page of the dashboard: plain HTML and one script, which draws what the
// server sends twice a second. Brings all that it needs, and asks nobody else.

#pragma once

namespace troupe {

inline constexpr const char dashboard_page[] = R"page(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>troupe</title>
<style>
:root { color-scheme: light dark; --back: #fff; --fore: #1b1f24;
  --faint: #667; --line: #d8dce2; --card: #f6f7f9; --one: #1668c5;
  --two: #a84c00; --busy: #2d8a4e; --stuck: #c62b2b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171b; --fore: #e4e7eb; --faint: #99a3b0;
    --line: #333a43; --card: #1c2127; --one: #6cb0ff; --two: #ffa860;
    --busy: #4fc07a; --stuck: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem;
  background: var(--back); color: var(--fore);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.2rem; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 1.5rem 0 .25rem; }
.faint, caption { color: var(--faint); }
.facts { display: flex; flex-wrap: wrap; gap: 0 1.25rem; }
.advice { margin: .25rem 0 .75rem; overflow-wrap: anywhere; }
.charts { display: grid; gap: .75rem; }
@media (min-width: 40rem) {
  .charts { grid-template-columns: 1fr 1fr; } }
@media (min-width: 64rem) {
  .charts { grid-template-columns: repeat(4, 1fr); } }
figure { margin: 0; padding: .5rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .4rem; }
figcaption { font-size: .85rem; display: flex; flex-wrap: wrap;
  justify-content: space-between; gap: 0 .75rem; }
figcaption span span { white-space: nowrap; }
svg { display: block; width: 100%; height: 4.5rem; margin-top: .25rem;
  border-bottom: 1px solid var(--line); }
polyline { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.one { stroke: var(--one); color: var(--one); }
.two { stroke: var(--two); color: var(--two); }
.scroll { overflow-x: auto; margin-top: .75rem; }
table { border-collapse: collapse; width: 100%; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; }
th, td { padding: .15rem .5rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; max-width: 12rem;
  overflow: hidden; text-overflow: ellipsis; position: sticky; left: 0;
  background: var(--back); }
.team { display: grid; gap: .25rem; margin-top: .75rem; font-size: .85rem;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.team div { padding: .1rem .5rem; border-left: .3rem solid var(--line);
  background: var(--card); white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.team .busy { border-color: var(--busy); }
.team .stuck { border-color: var(--stuck); }
</style>
</head>
<body>
<h1>troupe <span class="faint" id="state" role="status">connecting</span></h1>
<main id="pools"></main>
<script>
"use strict";
const kept = 240;
const pools = new Map();

function make(tag, parent, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  if (parent) parent.append(node);
  return node;
}

function time(s) {
  if (s === 0) return "0 s";
  const units = [[1e-9, "ns"], [1e-6, "us"], [1e-3, "ms"], [1, "s"],
                 [60, "min"], [3600, "h"]];
  let found = units[0];
  for (const unit of units) if (s >= unit[0] * 0.9995) found = unit;
  return (s / found[0]).toPrecision(3) + " " + found[1];
}

const percent = x => Math.round(x * 100) + " %";
const number = x => x >= 1000 ? Math.round(x).toLocaleString("en")
                              : String(Number(x.toPrecision(3)));

const charts = [
  {title: "queued", show: number, lines: [["", p => p.queued]]},
  {title: "requests per second", show: number, lines: [["", p => p.rate]]},
  {title: "waited", show: time,
   lines: [["p50", p => p.waited.p50], ["p99", p => p.waited.p99]]},
  {title: "ran", show: time,
   lines: [["p50", p => p.ran.p50], ["p99", p => p.ran.p99]]},
];

function addChart(parent, what) {
  const figure = make("figure", parent);
  const caption = make("figcaption", figure);
  const peak = make("span", make("span", caption, what.title), "", "faint");
  const now = make("span", caption);
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 " + (kept - 1) + " 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", what.title + " over the last two minutes");
  figure.append(svg);
  const lines = what.lines.map(([name, of], i) => {
    const drawn = document.createElementNS(space, "polyline");
    drawn.setAttribute("class", i ? "two" : "one");
    svg.append(drawn);
    return {name, of, drawn, values: [],
            label: make("span", now, "", i ? "two" : "one")};
  });
  return pool => {
    for (const line of lines) {
      line.values.push(line.of(pool));
      if (line.values.length > kept) line.values.shift();
      line.label.textContent = (line.name ? " " + line.name + " " : "")
        + what.show(line.values[line.values.length - 1]);
    }
    const most = Math.max(0, ...lines.flatMap(x => x.values));
    peak.textContent = " peak " + what.show(most);
    const top = Math.max(1e-9, most) * 1.05;
    for (const line of lines)
      line.drawn.setAttribute("points", line.values.map((y, x) =>
        (x + kept - line.values.length) + "," + (100 - 100 * y / top).toFixed(2)
      ).join(" "));
  };
}

// Those that are seldom more than zero are left out until one is.
const seldom = ["cancelled", "expired", "late"];
const columns = [
  ["label", x => x.label || "(none)"], ["succeeded", x => number(x.succeeded)],
  ["failed", x => number(x.failed)],
  ...seldom.map(name => [name, x => number(x[name])]),
  ["waited p50", x => time(x.waited.p50)],
  ["p99", x => time(x.waited.p99)], ["ran p50", x => time(x.ran.p50)],
  ["p99", x => time(x.ran.p99)], ["max", x => time(x.ran.max)],
  ["CPU", x => x.cpu === null ? "" : percent(x.cpu) + " " + x.kind],
];

function addPool(name) {
  const section = make("section", document.getElementById("pools"));
  make("h2", section, name);
  const facts = make("div", section, undefined, "facts");
  const advice = make("p", section, "", "advice faint");
  const grid = make("div", section, undefined, "charts");
  const drawn = charts.map(x => addChart(grid, x));
  const team = make("div", section, undefined, "team");
  const table = make("table", make("div", section, undefined, "scroll"));
  make("caption", table, "requests by label");
  const head = make("tr", make("thead", table));
  const body = make("tbody", table);
  return {section, update(pool) {
    facts.replaceChildren(...[
      pool.workers + " of " + pool.limit + " workers", pool.busy + " busy",
      pool.idle + " idle", pool.stuck + " stuck",
      "busy " + percent(pool.busy_1s) + " of 1 s",
      percent(pool.busy_10s) + " of 10 s", percent(pool.busy_60s) + " of 60 s",
      "oldest queued " + time(pool.oldest),
      "longest running " + time(pool.longest), number(pool.refused) + " refused",
    ].map(text => make("span", null, text)));
    advice.textContent = pool.advice;
    for (const draw of drawn) draw(pool);
    team.replaceChildren(...pool.team.map(x => make("div", null,
      x.id + (x.busy ? ": " + time(x.running) + " " + (x.label || "request")
                     : ": idle"),
      x.stuck ? "stuck" : x.busy ? "busy" : "")));
    const shown = columns.filter(([title]) =>
      !seldom.includes(title) || pool.labels.some(x => x[title] > 0));
    head.replaceChildren(...shown.map(([title]) => make("th", null, title)));
    body.replaceChildren(...pool.labels.map(x => {
      const row = make("tr");
      for (const [, show] of shown) make("td", row, show(x));
      return row;
    }));
  }};
}

function update(all) {
  const seen = new Map();
  for (const pool of all) {
    const n = (seen.get(pool.pool) || 0) + 1;
    seen.set(pool.pool, n);
    const name = n > 1 ? pool.pool + "#" + n : pool.pool;
    pool.shown = name;
    if (!pools.has(name)) pools.set(name, addPool(name));
    pools.get(name).update(pool);
  }
  for (const [name, pool] of pools)
    if (!all.some(x => x.shown === name)) {
      pool.section.remove();
      pools.delete(name);
    }
}

const state = document.getElementById("state");
const source = new EventSource("events");
source.onmessage = event => {
  const all = JSON.parse(event.data);
  state.textContent = all.length ? "" : "no pools";
  update(all);
};
source.onerror = () => { state.textContent = "not connected"; };
</script>
</body>
</html>
)page";

} // namespace troupe
