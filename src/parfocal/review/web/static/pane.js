// One slide in OpenSeadragon: where it shows, the scale bar, and a canvas to draw on in the slide's pixels.

import { ask } from "./api.js";

const BAR_PX = 160;
const STEPS = [1, 2, 5];

// OpenSeadragon adds an inline style, which the page's policy forbids, unless it finds its own mark.
const mark = document.createElement("style");
mark.setAttribute("data-openseadragon-mobile-css", "");
document.head.append(mark);

export class Pane {
  static async open(section) { return Pane.of(section, await ask(`/api/slides/${section.dataset.slide}`)); }

  static async of(section, slide) {
    const pane = new Pane(section, slide);
    await new Promise((done, failed) => {
      pane.viewer.addOnceHandler("open", done);
      pane.viewer.addOnceHandler("open-failed", (event) => failed(new Error(event.message)));
    });
    pane.start();
    return pane;
  }

  constructor(section, slide) {
    this.section = section;
    this.slide = slide;
    this.view = section.querySelector(".view");
    this.drawn = [];
    this.viewer = OpenSeadragon({
      element: this.view,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: this.view.clientWidth > 500,
      navigatorPosition: "TOP_RIGHT",
      navigatorBackground: "#e9ecef",
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
      maxTilesPerFrame: 16,  // one tile a frame, as it is otherwise, makes the first view take as many frames as tiles
      maxZoomPixelRatio: 4,
      minZoomImageRatio: 0.25,
      visibilityRatio: 0.3,
      preserveImageSizeOnResize: true,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      tileSources: {
        Image: {
          xmlns: "http://schemas.microsoft.com/deepzoom/2008", Url: slide.tiles, Format: "jpg", Overlap: "0",
          TileSize: String(slide.tile_px), Size: { Width: String(slide.width), Height: String(slide.height) },
        },
      },
    });
    this.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
  }

  start() {
    this.item = this.viewer.world.getItemAt(0);
    this.canvas = document.createElement("canvas");
    this.canvas.className = "overlay";
    this.viewer.canvas.append(this.canvas);
    this.viewer.addHandler("update-viewport", () => this.redraw());
    this.viewer.addHandler("resize", () => this.redraw());
    this.redraw();
    const drawn = () => {
      if (!this.item.getFullyLoaded() || this.section.hasAttribute("data-drawn")) return;
      performance.mark("first-view");  // which `parfocal benchmark serve --browser` reads
      this.section.setAttribute("data-drawn", "");
    };
    this.item.addHandler("fully-loaded-change", drawn);
    drawn();
  }

  // How many screen pixels a pixel of the slide takes.
  get scale() { return this.item.viewportToImageZoom(this.viewer.viewport.getZoom(true)); }

  get magnification() { return this.slide.magnification || (this.slide.pixel_size_um ? 10 / this.slide.pixel_size_um : 1); }

  // The scale where the animation ends, not where it is.
  get targetScale() { return this.item.viewportToImageZoom(this.viewer.viewport.getZoom(false)); }

  get centre() {
    const at = this.item.viewportToImageCoordinates(this.viewer.viewport.getCenter(false));
    return [at.x, at.y];
  }

  get rotation() { return this.viewer.viewport.getRotation(); }

  show({ x, y, scale, rotation }, at_once = false) {
    const { viewport } = this.viewer;
    if (rotation !== undefined) viewport.setRotation(rotation, true);
    if (scale !== undefined) viewport.zoomTo(this.item.imageToViewportZoom(scale), undefined, at_once);
    if (x !== undefined) viewport.panTo(this.item.imageToViewportCoordinates(x, y), at_once);
    viewport.applyConstraints(at_once);
  }

  zoomBy(factor) { this.viewer.viewport.zoomBy(factor); this.viewer.viewport.applyConstraints(); }

  // Moves by a share of what is seen, in the screen's directions.
  moveBy(dx, dy) {
    const bounds = this.viewer.viewport.getBoundsNoRotate();
    const by = new OpenSeadragon.Point(dx * bounds.width, dy * bounds.height).rotate(-this.rotation);
    this.viewer.viewport.panBy(by);
    this.viewer.viewport.applyConstraints();
  }

  // [x, y] in px of the slide of a place on the screen that OpenSeadragon tells.
  slidePlace(position) {
    const at = this.item.viewerElementToImageCoordinates(position);
    return [at.x, at.y];
  }

  // Asks this to paint, called with the canvas' context, in px of the slide.
  paintWith(paint) { this.drawn.push(paint); }

  redraw() {
    const width = this.section.clientWidth, height = this.section.clientHeight, ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    const [origin, right, down] = [[0, 0], [1000, 0], [0, 1000]].map(([x, y]) =>
      this.item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y)));
    context.setTransform(
      ratio * (right.x - origin.x) / 1000, ratio * (right.y - origin.y) / 1000,
      ratio * (down.x - origin.x) / 1000, ratio * (down.y - origin.y) / 1000,
      ratio * origin.x, ratio * origin.y);
    for (const paint of this.drawn) paint(context, 1 / this.scale);
    this.showScale();
  }

  showScale() {
    const bar = this.section.querySelector(".scale"), line = bar.querySelector(".scale-line");
    const where = this.section.querySelector(".where");
    if (where) where.textContent = `${format(this.magnification * this.scale)}×`;
    bar.hidden = !this.slide.pixel_size_um;
    if (bar.hidden) return;
    const um_per_px = this.slide.pixel_size_um / this.scale;
    const length_um = round_down(BAR_PX * um_per_px);
    line.style.width = `${length_um / um_per_px}px`;
    bar.querySelector(".scale-words").textContent = words_of(length_um);
  }
}

export function words_of(length_um) {
  return length_um >= 1000 ? `${format(length_um / 1000)} mm` : `${format(length_um)} µm`;
}

export function format(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toPrecision(2).replace(/\.0$/, "");
}

function round_down(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * STEPS.filter((step) => step * power <= value).pop();
}
