"use strict";
// The two pictures of numbers that are no curves: the residuals a gate measured, and each sample without and with.

function frame(title, note, label) {
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0, "aria-label": label });
  const tip = make("div", { class: "tip", hidden: "" });
  const legend = make("ul", { class: "legend" });
  const figure = make("figure", { class: "chart" }, make("figcaption", {}, title, " ", make("small", {}, note)), svg, legend, tip);
  return { svg, tip, legend, figure };
}

function tell(box, event, text) {
  box.tip.hidden = !text;
  box.tip.textContent = text;
  if (!text) return;
  const place = box.figure.getBoundingClientRect(), at = event.clientX - place.left;
  box.tip.style.left = `${Math.max(0, Math.min(at + 10, box.figure.clientWidth - box.tip.offsetWidth))}px`;
  box.tip.style.top = `${event.clientY - place.top + 12}px`;
}

function swatch(colour, text) {
  const sample = make("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, make("rect", { x: 6, y: 0, width: 14, height: 10, fill: colour }));
  return make("li", {}, sample, text);
}

// Residuals of the base, with the bound of the correction: what lies outside cannot be repaired.
function drawHistogram(place, told) {
  const { edges, share } = told.histogram, bound = told.bound, unit = told.unit ? ` ${told.unit}` : "";
  const label = `Residuals: ${(100 * told.histogram.lost).toFixed(1)} % beyond the bound of ${short(bound)}${unit}`;
  const box = frame("Residuals of the base", `target − base${told.unit ? `, ${told.unit}` : ""}; share of pixels`, label);
  const low = edges[0], high = edges[edges.length - 1], most = Math.max(...share, 1e-9);
  const x = (value) => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  for (const value of ticks(0, 100 * most, 3)) {
    box.svg.append(make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value / 100), y2: y(value / 100) }));
    box.svg.append(make("text", { x: LEFT - 5, y: y(value / 100) + 4, "text-anchor": "end" }, `${short(value)} %`));
  }
  share.forEach((value, number) => {
    const outside = Math.abs((edges[number] + edges[number + 1]) / 2) > bound;
    const left = x(edges[number]), width = Math.max(x(edges[number + 1]) - left - 0.4, 0.5);
    const bar = make("rect", { class: "bin", x: left, y: y(value), width, height: y(0) - y(value), fill: outside ? "var(--c1)" : "var(--c0)" });
    bar.append(make("title", {}, `${short(edges[number])} to ${short(edges[number + 1])}${unit}: ${(100 * value).toFixed(2)} %`));
    box.svg.append(bar);
  });
  for (const side of [-bound, bound]) box.svg.append(make("line", { x1: x(side), x2: x(side), y1: TOP - 4, y2: HEIGHT - BOTTOM, stroke: "var(--ink)", "stroke-dasharray": "5 3" }));
  for (const value of ticks(low, high, 6)) box.svg.append(make("text", { x: x(value), y: HEIGHT - 9, "text-anchor": "middle" }, short(value)));
  box.legend.append(swatch("var(--c0)", `within ±${short(bound)}${unit}`), swatch("var(--c1)", `beyond it, ${(100 * told.histogram.lost).toFixed(1)} %`));
  if (told.histogram.beyond > 0) box.legend.append(make("li", {}, `${(100 * told.histogram.beyond).toPrecision(2)} % beyond this axis`));
  place.replaceChildren(box.figure);
}

// Every held-out sample: the base alone across, corrected upwards. Below the diagonal the correction helps.
function drawSamples(place, row) {
  const better = row.samples.filter(([base, corrected]) => corrected < base).length;
  const note = `after ${row.stage}, ${row.metric}: ${better} of ${row.samples.length} samples are better with the correction`;
  const box = frame("Sample by sample", note, note);
  const values = row.samples.flatMap(([base, corrected]) => [base, corrected]);
  const low = Math.min(...values, 0), high = Math.max(...values) * 1.05 || 1;
  const x = (value) => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  for (const value of ticks(low, high, 4)) {
    box.svg.append(make("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    box.svg.append(make("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, short(value)));
    if (x(value) < WIDTH - 80) box.svg.append(make("text", { x: x(value), y: HEIGHT - 9, "text-anchor": "middle" }, short(value)));
  }
  box.svg.append(make("text", { x: WIDTH - RIGHT, y: HEIGHT - 9, "text-anchor": "end" }, "base alone"), make("text", { x: LEFT + 4, y: TOP - 5 }, "corrected"));
  box.svg.append(make("line", { x1: x(low), x2: x(high), y1: y(low), y2: y(high), stroke: "var(--soft)", "stroke-dasharray": "5 3" }));
  for (const [base, corrected, name] of row.samples) {
    const helps = corrected < base;
    const dot = mark(helps ? "circle" : "triangle", x(base), y(corrected), helps ? "var(--c0)" : "var(--c1)", false);
    dot.setAttribute("fill-opacity", "0.6");
    dot.addEventListener("pointerenter", (event) => tell(box, event, `${name}: base ${short(base)}, corrected ${short(corrected)}`));
    dot.addEventListener("pointerleave", (event) => tell(box, event, ""));
    box.svg.append(dot);
  }
  box.legend.append(swatch("var(--c0)", "better (circle)"), swatch("var(--c1)", "not better (triangle)"));
  place.append(box.figure);
}
