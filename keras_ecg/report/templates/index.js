"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const table = document.getElementById("table");
const body = table.tBodies[0];
const find = id => document.getElementById(id);

// An element with attributes and children; text is never parsed as HTML.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Sort by a column: ascending, then descending; empty cells last.
function sortBy(button) {
  const column = Number(button.dataset.column) + 1;  // the first column marks runs to compare
  const head = button.closest("th");
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const th of table.tHead.rows[0].cells) if (th.hasAttribute("aria-sort")) th.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.key;
  const numeric = [...body.rows].every(row => key(row) === "" || !isNaN(key(row)));
  const rows = [...body.rows].sort((x, y) => {
    const [a, b] = [key(x), key(y)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return (numeric ? a - b : a.localeCompare(b)) * (up ? 1 : -1);
  });
  body.append(...rows);
}

function filter() {
  const task = find("task").value;
  const parts = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = (task !== "" && row.dataset.task !== task) || !parts.every(part => text.includes(part));
    shown += !row.hidden;
  }
  find("count").textContent = `${shown} run${shown === 1 ? "" : "s"}`;
}

const settingOf = (run, key) => key in run.settings ? run.settings[key] : data.usual[key];

function settingsTable(a, b) {
  const rows = Object.keys(data.usual)
    .map(key => [key, settingOf(a, key), settingOf(b, key)])
    .filter(([, x, y]) => x !== y)
    .map(([key, x, y]) => element("tr", {}, element("th", {scope: "row"}, key), ...[x, y].map(
      value => element("td", {}, value === null ? "not set" : value))));
  return tableOf("Settings that differ", ["setting", "A", "B"], rows, "text");
}

function metricsTable(a, b) {
  const cell = value => value
    ? element("td", {}, value.text, ...(value.ci ? [element("span", {class: "ci"}, value.ci)] : []))
    : element("td", {}, "–");
  const rows = Object.entries(data.metrics).filter(([name]) => name in a.metrics || name in b.metrics).map(([name, of]) => {
    const [x, y] = [a.metrics[name], b.metrics[name]];
    const both = x && y && x.mean !== null && y.mean !== null;
    const gap = both ? y.mean - x.mean : null;
    const form = {style: of.percent ? "percent" : "decimal", minimumFractionDigits: of.decimals,
      maximumFractionDigits: of.decimals};
    const text = both ? (gap < 0 ? "−" : "+") + Math.abs(gap).toLocaleString("en", form) : "";
    return element("tr", {}, element("th", {scope: "row", title: of.tip}, of.title), cell(x), cell(y), element("td", {}, text));
  });
  return tableOf("Metrics with 95 % CI", ["metric", "A", "B", "B minus A"], rows, "");
}

function tableOf(caption, head, rows, style) {
  const made = element("table", {class: style}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map(text => element("th", {scope: "col"}, text)))),
    element("tbody", {}, ...rows));
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption}, made);
}

function compare() {
  const ids = [find("a").value, find("b").value];
  for (const row of body.rows) row.querySelector("input").checked = ids.includes(row.dataset.id);
  const [a, b] = ids.map(id => data.runs[id]);
  if (!a || !b) {
    const text = a || b ? "Choose a second run." : "Choose two runs here, or mark them in the table.";
    find("result").replaceChildren(element("p", {class: "note"}, text));
    return;
  }
  const heads = [["A", a, ids[0]], ["B", b, ids[1]]].map(([side, run, id]) => element("div", {class: "card"},
    element("div", {class: "name"}, `Run ${side}: ${run.experiment}`), element("strong", {}, run.label),
    element("div", {class: "range"}, element("a", {href: `${id}/report.html`}, id))));
  find("result").replaceChildren(element("div", {class: "cards"}, ...heads),
    element("p", {class: "note"}, "The difference is that of the two values. Whether it is significant takes paired " +
      "resampling of the same test subjects: Evaluator.compare."),
    metricsTable(a, b), settingsTable(a, b));
}

// Marking a third run replaces the one marked before the last.
function mark(box) {
  const id = box.closest("tr").dataset.id;
  const kept = [find("a").value, find("b").value].filter(other => other !== "" && other !== id);
  const ids = box.checked ? [...kept, id].slice(-2) : kept;
  find("a").value = ids[0] || "";
  find("b").value = ids[1] || "";
  compare();
}

table.tHead.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button) sortBy(button);
});
body.addEventListener("change", event => mark(event.target));
find("task").addEventListener("change", filter);
find("search").addEventListener("input", filter);
for (const side of ["a", "b"]) find(side).addEventListener("change", compare);
filter();  // a browser may restore what was typed
compare();
