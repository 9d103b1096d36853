// A whole slide on a sheet: where it shows, and marks on it by their shares of its width and height.

import { element } from "./api.js";
import { format, Pane } from "./pane.js";

const MAGNIFICATIONS = [2.5, 5, 10, 20, 40, 100]; // the same buttons whatever the slide was taken with
const HALF_CROSS_PX = 11;

export class Whole {
  static async open(told, marks, colour) {
    const { tiles, tile_px, width, height, um_per_px } = told;
    const slide = { tiles, tile_px, width, height, pixel_size_um: um_per_px, magnification: null };
    return new Whole(await Pane.of(document.getElementById("pane"), slide), marks, colour);
  }

  // `marks()` gives those to paint, `colour(mark)` what in.
  constructor(pane, marks, colour) {
    this.pane = pane;
    this.cross = false;
    const { viewer } = pane;
    for (const kind of ["Mouse", "Touch", "Pen", "Unknown"]) viewer[`gestureSettings${kind}`].dblClickToZoom = false;
    pane.view.style.cursor = "crosshair";
    pane.paintWith((context, px) => this.paint(context, px, marks(), colour));
    viewer.addHandler("canvas-press", () => { this.cross = false; });
    document.getElementById("magnifications").append(...MAGNIFICATIONS.map((times) => {
      const button = element("button", { type: "button", className: "quiet", textContent: `${format(times)}×` });
      button.addEventListener("click", () => pane.show({ scale: times / pane.magnification }));
      return button;
    }));
  }

  // On the screen, in px.
  get size() { return [this.pane.slide.width * this.pane.scale, this.pane.slide.height * this.pane.scale]; }

  share([x, y]) { return [x / this.pane.slide.width, y / this.pane.slide.height]; }

  get middle() { return this.share(this.pane.centre); }

  // Calls back with the place that is clicked.
  onClick(then) {
    this.pane.viewer.addHandler("canvas-click", (event) => {
      if (event.quick) then(...this.share(this.pane.slidePlace(event.position)));
    });
  }

  // Calls back when all that is seen has arrived, and when something did not.
  onSeen(then) {
    const { item } = this.pane;
    if (item.getFullyLoaded()) then();
    else item.addHandler("fully-loaded-change", (event) => event.fullyLoaded && then());
  }

  onFailed(then) { this.pane.viewer.addHandler("tile-load-failed", then); }

  redraw() { this.pane.redraw(); }

  home() { this.pane.viewer.viewport.goHome(); }

  get keys() {
    const steps = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
    const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 };
    const keyed = (deed) => () => { this.cross = true; deed(); this.redraw(); };
    return {
      ...Object.fromEntries(Object.entries(steps).map(([key, by]) => [key, keyed(() => this.pane.moveBy(...by))])),
      ...Object.fromEntries(Object.entries(zooms).map(([key, by]) => [key, keyed(() => this.pane.zoomBy(by))])),
      0: () => this.home(),
    };
  }

  paint(context, px, marks, colour) {
    const { width, height } = this.pane.slide;
    for (const mark of marks) {
      for (const [stroke, line] of [["#fff", 5], [colour(mark), 2.5]]) {
        context.strokeStyle = stroke;
        context.lineWidth = line * px;
        context.beginPath();
        context.arc(mark.x * width, mark.y * height, 8 * px, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    if (this.cross) this.paintCross(context, px);
  }

  paintCross(context, px) {
    const [x, y] = this.pane.centre, half = HALF_CROSS_PX * px;
    for (const [stroke, line] of [["#fff", 4], ["#1c2430", 1.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = line * px;
      context.beginPath();
      context.moveTo(x - half, y); context.lineTo(x + half, y);
      context.moveTo(x, y - half); context.lineTo(x, y + half);
      context.stroke();
    }
  }
}
