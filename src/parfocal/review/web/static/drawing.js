// Measuring, and annotations that the server keeps.

import { ask, element } from "./api.js";
import { words_of } from "./pane.js";

const HINTS = {
  measure: "Drag a line; or Enter at its begin and at its end.",
  point: "Click a place; or Enter for the middle of the view.",
  box: "Drag a box; or Enter at two corners.",
  polygon: "Click the corners, double-click the last one; or Enter at each, Shift and Enter at the last.",
};
const COLOUR = "#1f6feb", CHOSEN = "#d9480f";

export class Drawing {
  static async open(pane) {
    const drawing = new Drawing(pane);
    drawing.features = (await ask(`/api/slides/${pane.slide.id}/annotations`)).features;
    drawing.list();
    return drawing;
  }

  constructor(pane) {
    this.pane = pane;
    this.tool = null;
    this.corners = [];
    this.measured = null;
    this.features = [];
    this.cross = false;
    pane.paintWith((context, px) => this.paint(context, px));
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => this.take(button.dataset.tool));
    }
    this.listen();
  }

  take(tool) {
    this.tool = tool === this.tool ? null : tool;
    this.corners = [];
    this.cross = false;
    if (this.tool !== "measure") this.measured = null;
    for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === this.tool));
    say(this.tool ? HINTS[this.tool] : "");
    this.pane.view.style.cursor = this.tool ? "crosshair" : "";
    this.pane.redraw();
  }

  listen() {
    const { viewer } = this.pane;
    viewer.addHandler("canvas-press", (event) => {
      if (this.tool === "measure" || this.tool === "box") this.corners = [this.pane.slidePlace(event.position)];
    });
    viewer.addHandler("canvas-drag", (event) => {
      if (!this.tool) return;
      event.preventDefaultAction = true;
      if (this.corners.length && this.tool !== "polygon") { this.corners[1] = this.pane.slidePlace(event.position); this.pane.redraw(); }
    });
    viewer.addHandler("canvas-drag-end", (event) => {
      if (this.tool) event.preventDefaultAction = true;
      if (this.corners.length === 2 && this.tool !== "polygon") this.finish();
    });
    viewer.addHandler("canvas-click", (event) => {
      if (!this.tool || !event.quick) return;
      event.preventDefaultAction = true;
      if (this.tool === "point" || this.tool === "polygon") this.corner(this.pane.slidePlace(event.position));
    });
    viewer.addHandler("canvas-double-click", (event) => {
      if (!this.tool) return;
      event.preventDefaultAction = true;
      if (this.tool === "polygon") { this.corners.pop(); this.finish(); } // the second click set a corner twice
    });
  }

  // A corner where the view's middle is: drawing without a mouse.
  enter(last) {
    this.cross = true;
    this.corner(this.pane.centre);
    if (last && this.tool === "polygon") this.finish();
    this.pane.redraw();
  }

  corner(place) {
    this.corners.push(place);
    const wanted = { point: 1, box: 2, measure: 2 }[this.tool];
    if (this.corners.length === wanted) this.finish();
    this.pane.redraw();
  }

  async finish() {
    const corners = this.corners;
    this.corners = [];
    if (this.tool === "measure") { this.measure(corners); return; }
    const geometry = geometry_of(this.tool, corners);
    if (!geometry) { say("A polygon needs three corners."); this.pane.redraw(); return; }
    try {
      this.features.push(await ask(`/api/slides/${this.pane.slide.id}/annotations`, "POST", { geometry }));
      say("Saved.");
    } catch (error) { say(`Not saved: ${error.message}.`); }
    this.list();
    this.pane.redraw();
  }

  measure([from, to]) {
    this.measured = [from, to];
    const px = Math.hypot(to[0] - from[0], to[1] - from[1]), um = this.pane.slide.pixel_size_um;
    say(um ? `Distance: ${words_of(px * um)}` : `Distance: ${px.toFixed(0)} px`);
    this.pane.redraw();
  }

  paint(context, px) {
    for (const feature of this.features) shape(context, feature.geometry, px, feature.id === this.chosen ? CHOSEN : COLOUR);
    if (this.tool && this.corners.length && this.tool !== "measure") {
      const rough = geometry_of(this.tool, this.corners);
      if (rough) shape(context, rough, px, CHOSEN);
      else this.corners.forEach((coordinates) => shape(context, { type: "Point", coordinates }, px, CHOSEN));
    }
    const line = this.tool === "measure" && this.corners.length === 2 ? this.corners : this.measured;
    if (line) path(context, line, px, CHOSEN);
    if (this.cross && this.tool) { const [x, y] = this.pane.centre, r = 12 * px; path(context, [[x - r, y], [x + r, y]], px, "#111"); path(context, [[x, y - r], [x, y + r]], px, "#111"); }
  }

  list() {
    const list = document.getElementById("annotations");
    list.replaceChildren(...this.features.map((feature, index) => this.row(feature, index + 1)));
    if (!this.features.length) list.append(element("li", { className: "hint", textContent: "None yet." }));
  }

  row(feature, number) {
    const what = `${kind_of(feature.geometry)} ${number}`;
    const go = element("button", { type: "button", className: "quiet", textContent: "Show", ariaLabel: `Show ${what}` });
    go.addEventListener("click", () => this.goTo(feature));
    const label = element("input", { value: feature.properties.name, placeholder: what, ariaLabel: `Label of ${what}`, maxLength: 200 });
    label.addEventListener("change", () => this.save(() => ask(`/api/annotations/${feature.id}`, "PATCH", { label: label.value })));
    const remove = element("button", { type: "button", className: "quiet", textContent: "×", ariaLabel: `Remove ${what}` });
    remove.addEventListener("click", () => this.save(async () => {
      await ask(`/api/annotations/${feature.id}`, "DELETE");
      this.features = this.features.filter((one) => one !== feature);
      this.list();
    }));
    return element("li", {}, go, label, remove);
  }

  async save(change) {
    try { await change(); say("Saved."); } catch (error) { say(`Not saved: ${error.message}.`); }
    this.pane.redraw();
  }

  goTo(feature) {
    this.chosen = feature.id;
    const places = feature.geometry.type === "Point" ? [feature.geometry.coordinates] : feature.geometry.coordinates[0];
    const [x, y] = [0, 1].map((axis) => (Math.min(...places.map((place) => place[axis])) + Math.max(...places.map((place) => place[axis]))) / 2);
    const extent = Math.max(200, ...[0, 1].map((axis) => Math.max(...places.map((place) => place[axis])) - Math.min(...places.map((place) => place[axis]))));
    this.pane.show({ x, y, scale: Math.min(1, 0.6 * Math.min(this.pane.section.clientWidth, this.pane.section.clientHeight) / extent) });
  }
}

export function say(words) { document.getElementById("tool-hint").textContent = words; }

function geometry_of(tool, corners) {
  if (tool === "point") return { type: "Point", coordinates: corners[0] };
  if (tool === "box") {
    if (corners.length < 2) return null;
    const [[x0, y0], [x1, y1]] = corners;
    return { type: "Polygon", coordinates: [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]] };
  }
  return corners.length < 3 ? null : { type: "Polygon", coordinates: [[...corners, corners[0]]] };
}

function kind_of(geometry) {
  if (geometry.type === "Point") return "Point";
  const ring = geometry.coordinates[0];
  const square = ring.length === 5 && ring.every(([x, y], at) => at === 0 || x === ring[at - 1][0] || y === ring[at - 1][1]);
  return square ? "Box" : "Polygon";
}

function shape(context, geometry, px, colour) {
  if (geometry.type === "Polygon") { path(context, geometry.coordinates[0], px, colour); return; }
  const [x, y] = geometry.coordinates;
  context.beginPath();
  context.arc(x, y, 6 * px, 0, 2 * Math.PI);
  outline(context, px, colour);
}

function path(context, places, px, colour) {
  context.beginPath();
  places.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  outline(context, px, colour);
}

// White beneath, so that it is seen on any stain.
function outline(context, px, colour) {
  context.globalAlpha = 1;
  context.strokeStyle = "#fff";
  context.lineWidth = 5 * px;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = 2.5 * px;
  context.stroke();
}
