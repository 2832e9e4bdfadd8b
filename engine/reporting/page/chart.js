"use strict";
// One chart: lines or stacked areas over steps, with the stages as bands, and a cursor for pointer and arrow keys.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 380, HEIGHT = 210, LEFT = 46, RIGHT = 8, TOP = 18, BOTTOM = 26;
const DASHES = ["", "6 3", "2 2", "8 3 2 3", "", "6 3", "2 2"];
const MARKS = ["circle", "square", "triangle", "diamond"];

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "text", "circle", "title"].includes(name);
  const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2).replace(/\.?0*e\+?/, "e").replaceAll("-", "−");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}

// Round numbers that cover low..high.
function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-6 ? 0 : at);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const digit of high / low > 300 ? [1] : [1, 2, 5]) {
      const at = digit * 10 ** power;
      if (at >= low * 0.999 && at <= high * 1.001) found.push(at);
    }
  return found.length > 1 ? found : [low, high];
}

function mark(shape, x, y, colour, hollow) {
  const size = 3.4, how = { fill: hollow ? "var(--ground)" : colour, stroke: colour, "stroke-width": 1.5 };
  if (shape === "circle") return make("circle", { cx: x, cy: y, r: size, ...how });
  const d = {
    square: `M${x - size},${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
    triangle: `M${x},${y - size - 1}l${size + 1},${2 * size}h${-2 * size - 2}z`,
    diamond: `M${x},${y - size - 1}l${size + 1},${size + 1}l${-size - 1},${size + 1}l${-size - 1},${-size - 1}z`,
  }[shape];
  return make("path", { d, ...how });
}

class Chart {
  constructor(place, told) {
    this.told = told;
    this.at = null; // the step under the cursor
    this.caption = make("figcaption");
    this.svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "img" });
    this.legend = make("ul", { class: "legend" });
    this.tip = make("div", { class: "tip", hidden: "" });
    this.figure = make("figure", { class: "chart" }, this.caption, this.svg, this.legend, this.tip);
    place.append(this.figure);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.show(null));
    this.svg.addEventListener("blur", () => this.show(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  // chart: as `engine.reporting.curves` makes it. bands: the stages. stage: the one to show, or null for all.
  update(chart, bands, stage) {
    this.chart = chart;
    this.bands = bands;
    const band = bands.find((each) => each.name === stage);
    this.range = band ? [band.from, band.to] : [0, Math.max(1, ...bands.map((each) => each.to))];
    this.series = chart.series.map((each, number) => ({
      ...each, number, colour: `var(--c${(each.hue ?? number) % 7})`, dash: DASHES[(each.hue ?? number) % 7], shape: MARKS[(each.hue ?? number) % 4],
      // A stage's first step is the one after its beginning; what is measured at its beginning is the end of the one before.
      points: each.points.filter(([at]) => (chart.group === "training" ? at > this.range[0] : at >= this.range[0]) && at <= this.range[1]),
    }));
    this.stops = [...new Set(this.series.flatMap((each) => each.points.map(([at]) => at)))].sort((a, b) => a - b);
    const unit = [chart.unit, this.log() ? "log" : ""].filter(Boolean).join(", ");
    this.caption.replaceChildren(chart.title, " ", make("small", {}, unit ? `[${unit}]` : ""));
    this.svg.setAttribute("aria-label", `${chart.title}: ${this.series.map((each) => `${each.name}, last ${short(last(each.points))}`).join("; ")}`);
    this.draw();
    if (this.at !== null) this.show(this.at);
  }

  values() {
    if (this.chart.stacked) {
      const sums = new Map();
      for (const each of this.series) for (const [at, value] of each.points) sums.set(at, (sums.get(at) ?? 0) + (value ?? 0));
      return [0, ...sums.values()];
    }
    return this.series.flatMap((each) => each.points.map(([, value]) => value)).filter((value) => value !== null);
  }

  log() {
    const values = this.series.flatMap((each) => each.points.map(([, value]) => value)).filter((value) => value !== null);
    return Boolean(this.chart.log) && values.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 4;
  }

  draw() {
    const values = this.values();
    let low = values.length ? values.reduce((a, b) => Math.min(a, b)) : 0, high = values.length ? values.reduce((a, b) => Math.max(a, b)) : 1;
    if (low === high) { low -= Math.abs(low) * 0.1 || 0.5; high += Math.abs(high) * 0.1 || 0.5; }
    const log = this.log(), to = log ? Math.log : (value) => value;
    const pad = (to(high) - to(low)) * 0.06, bottom = to(low) - (this.chart.stacked ? 0 : pad), top = to(high) + pad;
    this.x = (at) => LEFT + ((at - this.range[0]) / (this.range[1] - this.range[0])) * (WIDTH - LEFT - RIGHT);
    this.y = (value) => TOP + ((top - to(value)) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
    const drawn = [];
    for (const band of this.bands) {
      if (band.to <= this.range[0] || band.from >= this.range[1]) continue;
      const x = this.x(band.from), width = this.x(band.to) - x;
      drawn.push(make("rect", { class: "band", x, y: TOP, width, height: HEIGHT - TOP - BOTTOM }));
    }
    for (const band of this.bands) {
      const x = this.x(band.from), width = this.x(band.to) - x;
      if (band.to <= this.range[0] || band.from >= this.range[1] || width < 7 * band.name.length) continue;
      drawn.push(make("text", { x: x + width / 2, y: TOP - 5, "text-anchor": "middle" }, band.name));
    }
    for (const value of log ? logTicks(low, high) : ticks(bottom, top, 4)) {
      const y = this.y(value);
      if (y < TOP - 1 || y > HEIGHT - BOTTOM + 1) continue;
      drawn.push(make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      drawn.push(make("text", { x: LEFT - 5, y: y + 4, "text-anchor": "end" }, short(value)));
    }
    const origin = this.range[0]; // steps count from the beginning of the stage that is shown
    for (const at of ticks(0, this.range[1] - origin, 5).filter(Number.isInteger)) {
      const x = this.x(origin + at);
      drawn.push(make("text", { x, y: HEIGHT - 9, "text-anchor": x > WIDTH - 25 ? "end" : "middle" }, String(at)));
    }
    drawn.push(...(this.chart.stacked ? this.areas() : this.lines()));
    this.cursor = make("g", {});
    drawn.push(this.cursor);
    this.svg.replaceChildren(...drawn);
    this.legend.replaceChildren(...(this.series.length > 1 || this.chart.group !== "training" ? this.series.map((each) => this.entry(each)) : []));
  }

  lines() {
    return this.series.flatMap((each) => {
      let d = "", pen = "M";
      for (const [at, value] of each.points) {
        if (value === null) { pen = "M"; continue; }
        d += `${pen}${this.x(at).toFixed(1)},${this.y(value).toFixed(1)}`;
        pen = "L";
      }
      const attributes = { class: "line", d, stroke: each.colour, "stroke-dasharray": each.dash, "data-series": each.name, "data-points": each.points.length };
      const path = make("path", attributes);
      if (each.points.length > 14) return [path];
      return [path, ...each.points.filter(([, value]) => value !== null).map(([at, value]) => mark(each.shape, this.x(at), this.y(value), each.colour, hollow(each)))];
    });
  }

  areas() {
    const below = new Map();
    return this.series.map((each) => {
      const lower = each.points.map(([at]) => [at, below.get(at) ?? 0]);
      const upper = each.points.map(([at, value]) => [at, (below.get(at) ?? 0) + (value ?? 0)]);
      for (const [at, value] of upper) below.set(at, value);
      const path = (points) => points.map(([at, value]) => `${this.x(at).toFixed(1)},${this.y(value).toFixed(1)}`).join("L");
      const d = upper.length ? `M${path(upper)}L${path(lower.reverse())}Z` : "";
      return make("path", { d, fill: each.colour, "fill-opacity": 0.55, stroke: each.colour, "data-series": each.name, "data-points": each.points.length });
    });
  }

  entry(each) {
    const sample = make("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    if (this.chart.stacked) sample.append(make("rect", { x: 0, y: 0, width: 26, height: 10, fill: each.colour, "fill-opacity": 0.55 }));
    else sample.append(make("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: each.colour, "stroke-width": 1.8, "stroke-dasharray": each.dash }), mark(each.shape, 13, 5, each.colour, hollow(each)));
    return make("li", {}, sample, each.of ? `${each.name} (every ${Math.round(each.of / each.points.length)}th of ${each.of} points)` : each.name);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const at = this.range[0] + (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (this.range[1] - this.range[0]);
    this.show(this.stops.reduce((best, each) => (best === null || Math.abs(each - at) < Math.abs(best - at) ? each : best), null));
  }

  key(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") return this.show(null);
    if (!(event.key in moves) || !this.stops.length) return undefined;
    event.preventDefault();
    const now = this.at === null ? (moves[event.key] > 0 ? -1 : this.stops.length) : this.stops.indexOf(this.at);
    const next = Math.min(Math.max(now + moves[event.key], 0), this.stops.length - 1);
    this.show(this.stops[next]);
    this.told.textContent = this.tip.textContent;
    return undefined;
  }

  // Tell the values at a step.
  show(at) {
    this.at = at;
    this.cursor.replaceChildren();
    this.tip.hidden = at === null;
    if (at === null) return;
    const x = this.x(at);
    this.cursor.append(make("line", { class: "cursor", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    const rows = [];
    let sum = 0;
    for (const each of this.series) {
      const found = each.points.find(([step]) => step === at);
      if (!found) continue;
      sum += found[1] ?? 0;
      if (found[1] !== null) this.cursor.append(mark(each.shape, x, this.y(this.chart.stacked ? sum : found[1]), each.colour, false));
      rows.push(make("div", {}, `${each.name} `, make("b", {}, short(found[1]))));
    }
    const band = this.bands.find((each) => at > each.from && at <= each.to) ?? this.bands.find((each) => at === each.from);
    this.tip.replaceChildren(make("div", {}, band ? `${band.name}, step ${at - band.from} of ${band.to - band.from}. ` : ""), ...rows);
    const place = (x / WIDTH) * this.svg.clientWidth;
    const left = place > this.svg.clientWidth / 2 ? Math.max(0, place - this.tip.offsetWidth - 10) : Math.min(place + 10, this.svg.clientWidth - this.tip.offsetWidth);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${this.svg.getBoundingClientRect().top - this.figure.getBoundingClientRect().top + TOP + 4}px`;
  }
}

function hollow(series) {
  return ((series.hue ?? series.number) % 2) === 1;
}

function last(points) {
  return points.length ? points[points.length - 1][1] : null;
}
