"use strict";
// Held-out samples over the stages: choose a sample and a stage, and flicker between two stages on the same place.

class Gallery {
  constructor(place, told) {
    this.place = place;
    this.told = told;
    this.sample = 0;
    this.stage = null; // the moment that is shown, such as "after B"
    this.other = null; // what it flickers with
    this.swapped = false;
    this.timer = null;
    this.large = false;
  }

  // shown: {moments: ["before A", ...], samples: [{id, of: {moment: [picture]}}], data: {key: data URI}}
  update(shown) {
    this.shown = shown;
    const { moments } = shown;
    if (!moments.includes(this.stage)) this.stage = moments[moments.length - 1] ?? null;
    if (!moments.includes(this.other)) this.other = moments.length > 1 ? moments[0] : null;
    this.sample = Math.min(this.sample, Math.max(shown.samples.length - 1, 0));
    if (!shown.samples.length) {
      this.place.replaceChildren(make("p", { class: "hint" }, shown.note || "No pictures of held-out samples were kept."));
      return;
    }
    this.controls();
    this.draw();
  }

  controls() {
    const focused = document.activeElement?.dataset?.pick;
    const samples = this.pills("sample", this.shown.samples.map((each, number) => [String(number), each.id]), String(this.sample), (picked) => { this.sample = Number(picked); });
    const stages = this.pills("stage", this.shown.moments.map((each) => [each, each]), this.stage, (picked) => { this.stage = picked; this.swapped = false; });
    const parts = [samples, stages];
    if (this.shown.moments.length > 1) {
      const pair = this.pills("compare", this.shown.moments.map((each) => [each, each]), this.other, (picked) => { this.other = picked; });
      pair.append(this.button("swap", "swap (x)", this.swapped, () => this.swap()), this.button("flicker", "flicker (f)", this.timer !== null, () => this.flicker()));
      parts.push(pair);
    }
    const size = make("div", { class: "pills", role: "group", "aria-label": "size" }, make("span", { class: "label" }, "size"));
    size.append(this.button("size", "large", this.large, () => { this.large = !this.large; }));
    parts.push(size);
    this.shots = make("div", { class: `shots${this.large ? " large" : ""}` });
    this.title = make("h3", { "aria-live": "polite" });
    this.place.replaceChildren(...parts, this.title, this.shots);
    if (focused) this.place.querySelector(`[data-pick="${CSS.escape(focused)}"]`)?.focus();
  }

  pills(name, choices, picked, choose) {
    const group = make("div", { class: "pills", role: "group", "aria-label": name }, make("span", { class: "label" }, name === "compare" ? "compare with" : name));
    for (const [value, text] of choices) group.append(this.button(`${name} ${value}`, text, value === picked, () => choose(value)));
    return group;
  }

  button(pick, text, pressed, act) {
    const button = make("button", { type: "button", "aria-pressed": String(pressed), "data-pick": pick }, text);
    button.addEventListener("click", () => { act(); this.controls(); this.draw(); });
    return button;
  }

  swap() {
    this.swapped = !this.swapped;
  }

  flicker() {
    if (this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
      this.swapped = false;
      return;
    }
    this.timer = setInterval(() => { this.swap(); this.draw(); }, 700);
  }

  key(event) {
    if (!this.shown?.samples.length || this.shown.moments.length < 2 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "f") this.flicker();
    else if (event.key === "x") this.swap();
    else return;
    this.controls();
    this.draw();
  }

  // Only what differs is replaced, so that a flicker is one of pixels and of nothing else.
  draw() {
    const moment = this.swapped && this.other ? this.other : this.stage;
    const sample = this.shown.samples[this.sample];
    const title = `${sample.id}, ${moment}`;
    if (this.title.textContent !== title) this.title.textContent = title;
    this.title.setAttribute("aria-live", this.timer === null ? "polite" : "off");
    const pictures = sample.of[moment] ?? [];
    const names = pictures.map((each) => each.name);
    const before = [...this.shots.children];
    this.shots.replaceChildren(...pictures.map((each) => this.shot(before.find((node) => node.dataset.name === each.name), each)));
    this.shots.dataset.shown = names.join(" ");
  }

  shot(known, picture) {
    const node = known ?? make("figure", { class: "shot", "data-name": picture.name }, make("img", {}), make("figcaption"));
    const image = node.querySelector("img"), source = this.shown.data[picture.image] ?? "";
    if (image.getAttribute("src") !== source) image.setAttribute("src", source);
    image.setAttribute("width", picture.width);
    image.setAttribute("height", picture.height);
    image.alt = `${picture.name} ${picture.note}`;
    node.querySelector("figcaption").replaceChildren(picture.name, ...(picture.note ? [" ", make("span", { class: "of" }, picture.note)] : []), ...this.scale(picture));
    return node;
  }

  scale(picture) {
    if (!picture.scale.length) return [];
    const strip = make("div", { class: "scale", "aria-hidden": "true" });
    const every = picture.scale.every(([text]) => text);
    const texts = make("div", { class: every ? "ticks classes" : "ticks" });
    for (const [text, colour] of picture.scale) {
      const cell = make("i");
      cell.style.background = colour;
      strip.append(cell);
      if (text) texts.append(make("span", {}, text));
    }
    return [strip, texts];
  }
}
