// Tables that sort and filter, plots that answer to the pointer. Without it the page says the same.
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

function filterable(table) {
  const rows = [...table.tBodies[0].rows], all = rows.length;
  const box = make("input", {type: "search", placeholder: `filter ${all} rows`});
  const count = make("span", {});
  box.setAttribute("aria-label", "filter rows");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown < all ? ` ${shown} of ${all}` : "";
  });
  const bar = make("p", {className: "filter"});
  bar.append(box, count);
  table.parentElement.before(bar);
}

// The panels of a plot: its area and axes (ids a|…), its lines (ids l|…), in the units of the drawing.
function panelsOf(svg) {
  const panels = new Map();
  for (const group of svg.querySelectorAll("g[id]")) {
    const [kind, number, ...rest] = group.id.split("|");
    if (kind !== "a" && kind !== "l") continue;
    const path = group.querySelector("path");
    if (!path) continue;
    const points = [...path.getAttribute("d").matchAll(/(-?[\d.]+(?:e-?\d+)?) (-?[\d.]+(?:e-?\d+)?)/g)]
      .map(([, x, y]) => [Number(x), Number(y)]);
    if (!panels.has(number)) panels.set(number, {lines: []});
    if (kind === "l") panels.get(number).lines.push({label: rest[0], detail: rest[1], group, points});
    else {
      const [xs, ys] = [points.map(p => p[0]), points.map(p => p[1])];
      Object.assign(panels.get(number), {
        left: Math.min(...xs), right: Math.max(...xs), top: Math.min(...ys), bottom: Math.max(...ys),
        range: rest.map(Number),
      });
    }
  }
  return [...panels.values()].filter(panel => panel.range && panel.lines.length);
}

function nearest(panel, x, y) {
  let best = null;
  for (const line of panel.lines) {
    if (line.group.style.display === "none") continue;
    for (const [px, py] of line.points) {
      const far = Math.hypot(px - x, py - y);
      const isInside = py >= panel.top - 1 && py <= panel.bottom + 1;
      if (isInside && (!best || far < best.far)) best = {far, line, px, py};
    }
  }
  return best && best.far < 40 ? best : null;
}

function answering(svg, tip) {
  const panels = panelsOf(svg);
  if (!panels.length) return;
  const labels = [...new Set(panels.flatMap(panel => panel.lines.map(line => line.label)))];
  if (labels.length > 1) {
    const bar = make("p", {className: "filter"});
    for (const label of labels) {
      const button = make("button", {type: "button"}, label);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const isShown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(isShown));
        for (const line of panels.flatMap(panel => panel.lines))
          if (line.label === label) line.group.style.display = isShown ? "" : "none";
      });
      bar.append(button);
    }
    svg.before(bar);
  }
  const show = event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const panel = panels.find(p => at.x >= p.left && at.x <= p.right && at.y >= p.top && at.y <= p.bottom);
    const found = panel && nearest(panel, at.x, at.y);
    for (const line of panels.flatMap(p => p.lines)) line.group.classList.toggle("near", line === found?.line);
    tip.hidden = !found;
    if (!found) return;
    const [x0, x1, y0, y1] = panel.range;
    const x = x0 + (x1 - x0) * (found.px - panel.left) / (panel.right - panel.left);
    const y = y0 + (y1 - y0) * (panel.bottom - found.py) / (panel.bottom - panel.top);
    const detail = found.line.detail ? ` · ${found.line.detail}` : "";
    tip.textContent = `${found.line.label}${detail}: ${Number(y.toPrecision(5))} at ${Number(x.toPrecision(4))}`;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}

const tip = make("div", {className: "tip", hidden: true});
tip.setAttribute("role", "status");
document.body.append(tip);
for (const table of document.querySelectorAll("section table")) {
  if (!table.tHead || table.tBodies[0].rows.length < 3) continue;
  sortable(table);
  if (table.tBodies[0].rows.length > 8) filterable(table);
}
for (const svg of document.querySelectorAll("figure svg")) answering(svg, tip);
