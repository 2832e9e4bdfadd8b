"use strict";
// Puts the page together, and, where it is served while a run goes on, keeps it up to date.

const told = document.getElementById("told");
const charts = new Map();
let data = JSON.parse(document.getElementById("data").textContent);
let images = JSON.parse(document.getElementById("images").textContent);
let stage = null;
const gallery = new Gallery(document.getElementById("gallery"), told);

function drawCurves() {
  for (const chart of data.curves) {
    if (!charts.has(chart.id)) charts.set(chart.id, new Chart(document.querySelector(`.charts[data-group="${chart.group}"]`), told));
    charts.get(chart.id).update(chart, data.bands, stage);
  }
  document.getElementById("no-curves").hidden = data.curves.some((chart) => chart.group === "training");
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = !data.curves.some((chart) => chart.group === part.dataset.for);
  const choices = [[null, "all stages"], ...data.bands.map((band) => [band.name, band.name])];
  const pills = document.getElementById("stage-of-curves"), focused = document.activeElement?.dataset?.stage;
  pills.replaceChildren(...choices.map(([name, text]) => {
    const button = make("button", { type: "button", "aria-pressed": String(name === stage), "data-stage": name ?? "" }, text);
    button.addEventListener("click", () => { stage = name; drawCurves(); });
    return button;
  }));
  if (focused !== undefined && pills.contains(document.activeElement) === false) pills.querySelector(`[data-stage="${CSS.escape(focused)}"]`)?.focus();
}

function drawPlots() {
  for (const place of document.querySelectorAll("[data-histogram]")) drawHistogram(place, data.histograms[place.dataset.histogram]);
  const samples = document.getElementById("samples");
  samples.replaceChildren();
  for (const row of data.samples) drawSamples(samples, row);
}

function drawAll() {
  drawCurves();
  drawPlots();
  gallery.update(images);
}

// The parts that the server writes; what the reader has opened stays open.
const written = new Map();
function replaceParts(parts) {
  for (const [name, html] of Object.entries(parts)) {
    if (written.get(name) === html) continue;
    written.set(name, html);
    const place = document.querySelector(`[data-part="${name}"]`);
    const open = [...place.querySelectorAll("details")].map((each) => each.open);
    place.innerHTML = html;
    place.querySelectorAll("details").forEach((each, number) => { each.open = number < open.length ? open[number] : each.open; });
  }
}

async function follow() {
  let pause = 1000;
  const began = performance.now();
  try {
    const answer = await fetch(`state?seen=${encodeURIComponent(data.version)}&pictures=${encodeURIComponent(images.version)}`, { cache: "no-store" });
    if (answer.status === 200) {
      const state = await answer.json();
      data = state.data;
      images = state.images ?? images;
      replaceParts(state.parts);
      drawAll();
    }
    document.body.classList.remove("lost");
    pause = Math.max(pause, 20 * (performance.now() - began)); // to answer takes time from the training
  } catch {
    document.body.classList.add("lost"); // the server is gone; it may come back
    pause = 5000;
  }
  setTimeout(follow, pause);
}

const THEMES = { auto: "◐ auto", light: "☀ light", dark: "☾ dark" };
const theme = document.getElementById("theme");
theme.addEventListener("click", () => {
  const names = Object.keys(THEMES), now = document.documentElement.dataset.theme ?? "auto";
  const next = names[(names.indexOf(now) + 1) % names.length];
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  theme.textContent = THEMES[next];
  theme.setAttribute("aria-label", `Colours: ${next === "auto" ? "as the system says" : next}`);
});
document.addEventListener("keydown", (event) => gallery.key(event));

drawAll();
if (data.live) follow();
