// Charts of embedded data, drawn where they are seen: pointer and keys read a value, an area can be looked at
// closely, axes can be logarithmic, one choice of x and of hidden lines holds for the whole page.
"use strict";

const shared = {chosen: [], hidden: new Set(), charts: new Set(), data: new Map()};
const CROWD = 9;  // more than a colour each and the reference fade until one is pointed at
const LEFT = 56, RIGHT = 10, TOP = 8, BOTTOM = 40, REACH = 40;

function drawn(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

// Kinds of line, where colours come again; points of every other kind are square (what fits into a line's ends).
const DASHES = ["", "9 4", "2 4", "12 4 2 4"];

// A line's or point's own look: colour, dashes, square points.
function looking(path, line) {
  path.style.stroke = line.colour;
  path.style.strokeDasharray = line.isDots ? "" : DASHES[line.style || 0];
  path.classList.toggle("square", Boolean(line.isDots && line.style % 2));
}

// What is embedded under an id: x and y (column → what it says), lines (label, detail, colour, style, run, columns).
function dataOf(id) {
  if (!shared.data.has(id)) shared.data.set(id, JSON.parse(document.getElementById(`data-${id}`).textContent));
  return shared.data.get(id);
}

// Of seeds of one label, their mean where all have a value, as one more line.
function withMeans(lines, x, y) {
  const groups = Map.groupBy(lines, line => line.label);
  return [...lines, ...[...groups].filter(([, group]) => group.length > 1).map(([label, group]) => {
    const at = new Map();
    for (const line of group)
      line.step.forEach((step, i) => {
        if (line[x][i] === null || line[y][i] === null) return;
        const sum = at.get(step) || at.set(step, {n: 0, x: 0, y: 0}).get(step);
        sum.n += 1; sum.x += line[x][i]; sum.y += line[y][i];
      });
    const most = Math.max(...[...at.values()].map(sum => sum.n));
    const known = [...at.values()].filter(sum => sum.n === most);
    return {label, detail: "mean", colour: group[0].colour, style: group[0].style, isMean: true, done: true,
            [x]: known.map(sum => sum.x / sum.n), [y]: known.map(sum => sum.y / sum.n)};
  })];
}

class Chart {
  constructor(figure) {
    const {of, run} = figure.dataset, data = dataOf(of);
    const own = data.lines.find(line => line.run === run);
    const x = shared.chosen.find(name => name in data.x) || Object.keys(data.x)[0];
    Object.assign(this, {figure, x, y: Object.keys(data.y)[0], xs: data.x, ys: data.y,
                         log: data.log || [], isLog: {x: Boolean(data.log?.includes(x)), y: false}, range: null, near: null, width: 0, guides: data.guides, reference: data.reference});
    // a run's own chart: itself, and the reference with its seed
    this.lines = run ? data.lines.filter(line => line === own || (line.label === data.reference && line.detail === own?.detail)) : data.lines;
    this.hasMeans = data.means && !run;
    this.box = make("div", {className: "plot"});
    figure.prepend(this.bar(), this.legend(), this.box);
    shared.charts.add(this);
  }

  bar() {
    const bar = make("p", {className: "filter"});
    const choose = (name, known, chosen, act) => {
      const select = make("select", {});
      for (const [key, said] of Object.entries(known)) select.append(make("option", {value: key}, said));
      select.value = chosen;
      select.addEventListener("change", () => act(select.value));
      const label = make("label", {}, `${name} `);
      label.append(select);
      bar.append(label);
      return select;
    };
    if (Object.keys(this.ys).length > 1)
      choose("y", this.ys, this.y, value => { this.y = value; this.draw({range: null, near: null}); });
    else bar.append(make("label", {}, `y ${this.ys[this.y]} `));
    if (Object.keys(this.xs).length > 1) {
      this.select = choose("x", this.xs, this.x, value => {
        shared.chosen.unshift(value);
        for (const chart of shared.charts) chart.follow(value);
      });
    }
    this.boxes = {};
    const canLog = this.lines.some(line => Object.keys(this.ys).some(y => line[y]?.some(value => value > 0)));
    for (const axis of canLog ? ["x", "y"] : ["x"]) {
      const box = this.boxes[axis] = make("input", {type: "checkbox", checked: this.isLog[axis]});
      box.addEventListener("change", () => { this.isLog[axis] = box.checked; this.draw({range: null}); });
      const label = make("label", {});
      label.append(box, ` log ${axis} `);
      bar.append(label);
    }
    for (const [sign, said, act] of [["+", "closer", () => this.zoom(0.5)], ["−", "wider", () => this.zoom(2)], ["reset", "as it was", () => this.draw({range: null})]]) {
      const button = make("button", {type: "button", title: said}, sign);
      button.setAttribute("aria-label", sign === "reset" ? "reset the zoom" : `look ${said}`);
      button.addEventListener("click", act);
      bar.append(button);
    }
    return bar;
  }

  legend() {
    const bar = make("p", {className: "filter legend"});
    const labels = new Map(this.lines.map(line => [line.label, line]));
    if (labels.size < 2) return bar;
    const toggle = change => { change(); for (const chart of shared.charts) chart.draw({near: null}); };
    for (const [label, line] of labels) {
      const button = make("button", {type: "button", title: `show or hide ${label}`}, label);
      button.dataset.label = label;
      const key = drawn("svg", {viewBox: "0 0 28 8", class: "key"});
      looking(drawn("path", {d: line.isDots ? "M14 4h0" : "M1 4h26", class: line.isDots ? "dots" : "thick"}, key), line);
      button.prepend(key);
      button.addEventListener("click", () => toggle(() => shared.hidden.delete(label) || shared.hidden.add(label)));
      for (const [event, said] of [["pointerenter", label], ["focus", label], ["pointerleave", null], ["blur", null]])
        button.addEventListener(event, () => this.pick(said));
      bar.append(button);
    }
    if (labels.size > 3) {
      const all = make("button", {type: "button", className: "plain"}, "all"), none = make("button", {type: "button", className: "plain"}, "none");
      all.addEventListener("click", () => toggle(() => labels.forEach((_, label) => shared.hidden.delete(label))));
      none.addEventListener("click", () => toggle(() => labels.forEach((_, label) => shared.hidden.add(label))));
      bar.append(all, none);
    }
    this.buttons = bar;
    return bar;
  }

  follow(x) {
    if (!(x in this.xs) || !this.select) return;
    this.select.value = this.x = x;
    if (this.log.length) this.boxes.x.checked = this.isLog.x = this.log.includes(x);
    const range = this.range && {...this.range, x: null};
    this.draw({range, near: null});
  }

  // Lines as they are shown now: points (in values) that the axes can hold.
  shown() {
    const {x, y, isLog} = this;
    const lines = this.lines.filter(line => !shared.hidden.has(line.label) && line[x] && line[y]);
    return (this.hasMeans ? withMeans(lines, x, y) : lines).map(line => {
      const points = [];
      line[x].forEach((at, i) => {
        const value = line[y][i];
        if (at === null || value === null || (isLog.x && at <= 0) || (isLog.y && value <= 0)) return;
        points.push([at, value, i]);
      });
      return {...line, points};
    }).filter(line => line.points.length);
  }

  // All of x; of y what happens after the first fifth, where lines differ, to those that went well and end near others.
  fitting(lines) {
    const done = lines.some(line => line.done) ? lines.filter(line => line.done) : lines, end = line => line.points.at(-1)[1];
    const [worst, best] = usual(done.map(end));
    const well = done.filter(line => line.isDots || (end(line) >= worst && end(line) <= best));
    const xs = lines.flatMap(line => line.points.map(point => point[0])), [low, high] = [least(xs), most(xs)];
    const x = [!this.isLog.x && low > 0 && low < 0.1 * high ? 0 : low, high], isDots = lines.some(line => line.isDots);
    const late = line => line.points.filter(point => point[0] >= 0.2 * high);
    const ys = well.flatMap(line => (isDots || !late(line).length ? line.points : late(line)).map(point => point[1]));
    return {x: widened(x, this.isLog.x, isDots ? 0.04 : 0), y: widened(isDots ? usual(ys) : [least(ys), most(ys)], this.isLog.y, 0.06)};
  }

  zoom(times, [px, py] = this.middle()) {
    if (!this.scales) return;
    const part = (scale, p, from, to) => [from, to].map(end => scale.back(p + (end - p) * times)).sort((a, b) => a - b);
    this.draw({range: {x: part(this.scales.x, px, this.area.left, this.area.right), y: part(this.scales.y, py, this.area.bottom, this.area.top)}});
  }

  middle() {
    if (this.near) return [this.scales.x.at(this.near.point[0]), this.scales.y.at(this.near.point[1])];
    return [(this.area.left + this.area.right) / 2, (this.area.top + this.area.bottom) / 2];
  }

  draw(change = {}) {
    for (const [axis, range] of Object.entries(change.range || {}))
      if (range && !isSpan(range, this.isLog[axis])) return;  // no closer, no wider: numbers end there
    Object.assign(this, change);
    if (!this.width) return;
    for (const button of this.buttons?.querySelectorAll("[data-label]") || [])
      button.setAttribute("aria-pressed", String(!shared.hidden.has(button.dataset.label)));
    const had = document.activeElement === this.svg, {width} = this;
    const height = Math.round(Math.min(420, Math.max(240, width * 0.45)));
    const svg = drawn("svg", {viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: "img",
      "aria-label": `${this.ys[this.y]} against ${this.xs[this.x]}; arrows read values, plus and minus zoom, 0 resets`});
    Object.assign(this, {svg, area: {left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM}});
    const lines = this.visible = this.shown();
    if (lines.length) this.fill(svg, lines); else drawn("text", {x: LEFT, y: height / 2}, svg).textContent = "nothing to show";
    this.box.replaceChildren(svg);
    listen(this);
    if (had) svg.focus({preventScroll: true});
    this.mark(this.near);
  }

  fill(svg, lines) {
    const {area, isLog} = this, fit = this.fitting(lines);
    const range = {x: this.range?.x || fit.x, y: this.range?.y || fit.y};
    const x = scaleOf(range.x, isLog.x, area.left, area.right), y = scaleOf(range.y, isLog.y, area.bottom, area.top);
    this.scales = {x, y};
    const [xTicks, yTicks] = [ticksOf(range.x, isLog.x, Math.max(3, this.width / 110)), ticksOf(range.y, isLog.y, 5)];
    const grid = drawn("g", {class: "grid"}, svg);
    xTicks.forEach(value => {
      drawn("line", {x1: x.at(value), x2: x.at(value), y1: area.top, y2: area.bottom}, grid);
      drawn("text", {x: x.at(value), y: area.bottom + 16, "text-anchor": "middle"}, grid).textContent = short(value, isLog.x ? undefined : xTicks[1] - xTicks[0]);
    });
    yTicks.forEach(value => {
      drawn("line", {x1: area.left, x2: area.right, y1: y.at(value), y2: y.at(value)}, grid);
      drawn("text", {x: area.left - 6, y: y.at(value) + 4, "text-anchor": "end"}, grid).textContent = short(value, isLog.y ? undefined : yTicks[1] - yTicks[0]);
    });
    drawn("text", {x: (area.left + area.right) / 2, y: area.bottom + 34, "text-anchor": "middle"}, grid).textContent = this.xs[this.x];
    const id = `clip-${[...shared.charts].indexOf(this)}`;
    drawn("rect", {x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top}, drawn("clipPath", {id}, svg));
    const isCrowded = new Set(lines.map(line => line.label)).size > CROWD;
    const inside = this.inside = drawn("g", {"clip-path": `url(#${id})`, class: isCrowded ? "crowded" : ""}, svg);
    if (this.guides?.[this.y] !== undefined)
      drawn("line", {x1: area.left, x2: area.right, y1: y.at(this.guides[this.y]), y2: y.at(this.guides[this.y]), class: "guide"}, inside);
    const isMany = lines.some(line => line.isMean);
    for (const line of lines) {
      line.places = line.points.map(([a, b]) => [x.at(a), y.at(b)]);
      const at = line.places.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`);
      const d = line.isDots ? at.map(place => `M${place}h0`).join("")
        : line.isSteps ? `M${at[0]}${line.places.slice(1).map(([a, b]) => `H${a.toFixed(1)}V${b.toFixed(1)}`).join("")}` : `M${at.join("L")}`;
      line.path = drawn("path", {d, class: line.isDots ? "dots" : isMany && !line.isMean ? "thin" : "thick"}, inside);
      looking(line.path, line);
      line.path.classList.toggle("base", line.label === this.reference);
      if (line.points.length === 1) line.path.setAttribute("d", `${line.path.getAttribute("d")}h0`);
    }
    const isBeyond = place => place[1] < area.top || place[1] > area.bottom;
    const ends = lines.filter(line => !line.isMean).flatMap(line => line.isDots ? line.places : [line.places.at(-1)]);
    const beyond = ends.filter(isBeyond).length;
    if (beyond) drawn("text", {x: area.right, y: area.top + 12, "text-anchor": "end"}, grid).textContent = `${beyond} ${lines.some(line => line.isDots) ? "points" : "lines"} beyond this axis`;
    this.dot = drawn("circle", {r: 4, class: "near", visibility: "hidden"}, inside);
    this.frame = drawn("rect", {class: "frame", visibility: "hidden"}, svg);
  }

  // Bring the lines of a label out before all others; null: none.
  pick(label) {
    const isThere = label !== null && this.visible?.some(line => line.label === label);
    this.inside?.classList.toggle("picked", Boolean(isThere));
    for (const line of this.visible || [])
      if (line.path?.classList.toggle("mine", Boolean(isThere) && line.label === label)) this.inside.append(line.path);
    if (this.dot) this.inside?.append(this.dot);
  }

  // Read the value of a point: {line (of `visible`), point}; none hides what was read.
  mark(near) {
    const line = near && this.visible.find(other => other.label === near.label && other.detail === near.detail);
    const at = line ? line.points.findIndex(point => point[2] === near.point[2]) : -1;
    for (const other of this.visible) other.path?.classList.toggle("near", other === line);
    this.pick(at < 0 || line.isDots ? null : line.label);
    const place = at < 0 ? 0 : line.points[at][2];
    this.near = at < 0 ? null : {label: line.label, detail: line.detail, name: line.names?.[place], run: line.run || line.runs?.[place], point: line.points[at], index: at};
    if (this.dot) this.dot.setAttribute("visibility", at < 0 ? "hidden" : "visible");
    tip.hidden = at < 0;
    if (at < 0) return;
    const [px, py] = line.places[at];
    this.dot.setAttribute("cx", px); this.dot.setAttribute("cy", py); this.dot.style.fill = line.colour;
    const [vx, vy] = line.points[at];
    const who = [line.label, line.detail, this.near.name, this.near.run].filter(Boolean).join(" · ");
    const box = this.svg.getBoundingClientRect();
    say(`${who}: ${short(vy, Math.abs(vy) / 1e5)} at ${short(vx)}`, box.left + px, box.top + py);
  }
}

function listen(chart) {
  const {svg} = chart;
  const placed = event => {
    const box = svg.getBoundingClientRect(), scale = chart.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const nearest = ([x, y]) => {
    let found = null;
    for (const line of chart.visible)
      line.places?.forEach(([px, py], i) => {
        const far = Math.hypot(px - x, py - y);
        if (far < REACH && (!found || far < found.far)) found = {far, label: line.label, detail: line.detail, point: line.points[i]};
      });
    return found;
  };
  let from = null;
  const spanned = to => {
    const {area} = chart, held = (v, low, high) => Math.max(low, Math.min(high, v));
    const xs = [from[0], to[0]].map(v => held(v, area.left, area.right)).sort((a, b) => a - b);
    const ys = [from[1], to[1]].map(v => held(v, area.top, area.bottom)).sort((a, b) => a - b);
    return {xs, ys};
  };
  svg.addEventListener("pointerdown", event => {
    chart.mark(nearest(placed(event)));
    if (event.pointerType === "touch" || event.button || !chart.scales) return;  // a finger scrolls the page
    from = placed(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    if (!from) return chart.mark(nearest(placed(event)));
    const {xs, ys} = spanned(placed(event));
    for (const [key, value] of Object.entries({x: xs[0], y: ys[0], width: xs[1] - xs[0], height: ys[1] - ys[0], visibility: "visible"}))
      chart.frame.setAttribute(key, value);
  });
  svg.addEventListener("pointerup", event => {
    if (!from) return;
    const {xs, ys} = spanned(placed(event));
    from = null;
    if (xs[1] - xs[0] > 8 && ys[1] - ys[0] > 8)
      chart.draw({near: null, range: {x: xs.map(chart.scales.x.back), y: ys.map(chart.scales.y.back).reverse()}});
    else if (chart.near?.run) openPanel(chart.near.run);
  });
  svg.addEventListener("pointercancel", () => { from = null; });
  svg.addEventListener("pointerleave", event => {  // a finger that has left wants to read
    if (!from && event.pointerType !== "touch" && document.activeElement !== svg) chart.mark(null);
  });
  svg.addEventListener("blur", () => chart.mark(null));
  svg.addEventListener("dblclick", () => chart.draw({range: null}));
  svg.addEventListener("keydown", event => {
    const keys = {
      "+": () => chart.zoom(0.5), "=": () => chart.zoom(0.5), "-": () => chart.zoom(2), "0": () => chart.draw({range: null}),
      Escape: () => chart.draw({range: null, near: null}), Enter: () => chart.near?.run && openPanel(chart.near.run),
      ArrowLeft: () => step(chart, -1, 0), ArrowRight: () => step(chart, 1, 0), ArrowUp: () => step(chart, 0, -1), ArrowDown: () => step(chart, 0, 1),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
}

// The next point of the line that is read, or the next line, at the same place as far as it has one.
function step(chart, points, lines) {
  if (!chart.visible.length) return;
  const at = chart.visible.findIndex(line => line.label === chart.near?.label && line.detail === chart.near?.detail);
  const line = chart.visible[(Math.max(at, 0) + (at < 0 ? 0 : lines) + chart.visible.length) % chart.visible.length];
  const index = at < 0 ? line.points.length - 1 : chart.near.index + points;
  const point = line.points[Math.max(0, Math.min(line.points.length - 1, index))];
  chart.mark({label: line.label, detail: line.detail, point});
}

// A figure gets its size when it is seen, so what is folded is drawn when it is opened.
const seen = new ResizeObserver(entries => {
  for (const {target, contentRect} of entries) {
    const width = Math.round(contentRect.width);
    if (!width) continue;
    const chart = target.chart ||= new Chart(target);
    if (Math.abs(width - chart.width) > 1) chart.draw({width});
  }
});
for (const figure of document.querySelectorAll("figure[data-of]")) seen.observe(figure);
