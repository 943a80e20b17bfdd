// Tables that sort and filter, panels that are found, and what the pointer is on. Without it the page says the same
// but for learning curves, which chart.js draws.
"use strict";

const UNITS = {d: 86400, h: 3600, min: 60, s: 1};
const SCALES = {k: 1e3, K: 1e3, M: 1e6, G: 1e9, B: 1e9, T: 1e12, P: 1e15, E: 1e18};

// A cell as a number: 1,234  −0.0012  2.33 ± 0.01  12.5M  40%  1 h 05 min; NaN where it is none.
function numberOf(text) {
  const plain = text.replace(/−/g, "-").replace(/,/g, "").trim();
  const times = [...plain.matchAll(/(\d+(?:\.\d+)?) (d|h|min|s)\b/g)];
  if (times.length) return times.reduce((sum, [, n, unit]) => sum + n * UNITS[unit], 0);
  const found = plain.match(/^[+]?(-?\d*\.?\d+(?:e[+-]?\d+)?)([kKMGBTPE])?/);
  return found ? found[1] * (SCALES[found[2]] || 1) : NaN;
}

function make(name, attributes, text = "") {
  const element = Object.assign(document.createElement(name), attributes);
  element.textContent = text;
  return element;
}

function sortable(table) {
  const body = table.tBodies[0], original = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const isNumber = header.classList.contains("r");
    const text = row => row.cells[column].textContent.trim();
    const compare = (a, b) => {
      if (!isNumber) return text(a).localeCompare(text(b), undefined, {numeric: true});
      const [x, y] = [numberOf(text(a)), numberOf(text(b))];
      return x - y;
    };
    const sort = () => {
      const before = header.getAttribute("aria-sort");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      const now = {null: "ascending", ascending: "descending"}[before];
      let rows = original;
      if (now) {
        header.setAttribute("aria-sort", now);
        const known = original.filter(row => !isNumber || !isNaN(numberOf(text(row))));
        const missing = original.filter(row => !known.includes(row));
        known.sort((a, b) => now === "ascending" ? compare(a, b) : compare(b, a));
        rows = [...known, ...missing];  // a missing number is neither small nor large
      }
      table.classList.toggle("sorted", Boolean(now));
      body.append(...rows);
    };
    header.tabIndex = 0;
    header.title = "sort";
    header.addEventListener("click", sort);
    header.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}

// A box above `place` that hides all rows without its words; what they are is said where there is none yet.
function filterable(rows, place, noun) {
  const box = make("input", {type: "search", placeholder: `filter ${rows.length} ${noun}`});
  const count = make("span", {});
  box.setAttribute("aria-label", `filter ${noun}`);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const text = (row.querySelector("summary") || row).textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown < rows.length ? ` ${shown} of ${rows.length}` : "";
  });
  const bar = make("p", {className: "filter"});
  bar.append(box, count);
  place.before(bar);
}

const tip = make("div", {className: "tip", hidden: true});
tip.setAttribute("role", "status");
document.body.append(tip);

// Say something beside a place of the window.
function say(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 14}px`;
}

addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});

// Parts of a picture that say what they are when pointed at.
for (const part of document.querySelectorAll("svg [data-says]")) {
  part.addEventListener("pointermove", event => say(part.dataset.says, event.clientX, event.clientY));
  part.addEventListener("pointerleave", () => { tip.hidden = true; });
}

// The panel of a run, with all that it is folded into.
function openPanel(run) {
  const panel = document.getElementById(`run-${run}`);
  for (let part = panel; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  panel?.scrollIntoView({block: "start"});
  panel?.querySelector("summary").focus({preventScroll: true});
}
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#run-")) openPanel(decodeURIComponent(location.hash.slice(5)));
});

for (const table of document.querySelectorAll("section table")) {
  for (const cell of table.querySelectorAll("td")) {
    const run = cell.textContent.trim();
    if (!cell.children.length && document.getElementById(`run-${run}`)) cell.replaceChildren(make("a", {href: `#run-${run}`}, run));
  }
  if (!table.tHead || table.tBodies[0].rows.length < 3) continue;
  sortable(table);
  const rows = [...table.tBodies[0].rows];
  if (rows.length > 8) filterable(rows, table.parentElement, "rows");
}
const panels = [...document.querySelectorAll("details.run")];
if (panels.length > 8) filterable(panels, panels[0], "runs");
