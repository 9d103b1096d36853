// Fields over the slide: heat map of the focus, verdicts, borders, seams, and the record of one field.

import { ask, element } from "./api.js";

const VERDICTS = { focused: "#2f8f46", unsure: "#e09a12", failed: "#cf2f2a", empty: "#8894a3" };
const RAMP = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];
const DOUBT = 0.4;
const WORST_SEAM_UM = 0.5;

export class Layers {
  static async open(pane, changed) {
    const layers = new Layers(pane, await ask(`/api/slides/${pane.slide.id}/overlays`));
    pane.paintWith((context, px) => layers.paint(context, px));
    for (const box of document.querySelectorAll("[data-layer]")) {
      box.addEventListener("change", () => { layers.shown[box.dataset.layer] = box.checked; layers.legend(); pane.redraw(); changed(); });
    }
    return layers;
  }

  constructor(pane, told) {
    this.pane = pane;
    this.told = told;
    this.shown = {};
    const foci = told.fields.map((field) => field.focus_um).filter((z) => z !== null);
    this.range = foci.length ? [Math.min(...foci), Math.max(...foci)] : [0, 0];
  }

  paint(context, px) {
    const { frame_width: width, frame_height: height, fields, seams } = this.told;
    for (const field of fields) {
      const at = [field.mosaic_x_px, field.mosaic_y_px, width, height];
      if (this.shown.focus && field.focus_um !== null) fill(context, at, this.heat(field.focus_um), 0.45);
      if (this.shown.verdicts) fill(context, at, VERDICTS[field.verdict], 0.3);
      if (this.shown.borders) stroke(context, at, "#1d3557", 1.2 * px);
    }
    if (this.shown.seams) for (const seam of seams) this.paintSeam(context, seam, px);
    if (this.chosen) stroke(context, [this.chosen.mosaic_x_px, this.chosen.mosaic_y_px, width, height], "#0b5cad", 4 * px);
  }

  paintSeam(context, seam, px) {
    context.globalAlpha = 1;
    context.lineWidth = 3 * px;
    context.setLineDash(seam.accepted ? [] : [3 * px, 4 * px]);
    context.strokeStyle = seam.accepted ? ramp(1 - Math.min(1, seam.residual_um / WORST_SEAM_UM)) : "#555";
    context.beginPath();
    context.moveTo(seam.x0, seam.y0);
    context.lineTo(seam.x1, seam.y1);
    context.stroke();
    context.setLineDash([]);
  }

  heat(z) {
    const [low, high] = this.range;
    return ramp(high > low ? (z - low) / (high - low) : 0.5);
  }

  legend() {
    const box = document.getElementById("legend");
    box.replaceChildren();
    if (this.shown.focus) {
      const bar = element("div", { className: "legend-ramp" });
      bar.style.background = `linear-gradient(90deg, ${RAMP.join(",")})`;
      const ends = this.range.map((z) => element("span", { textContent: `${z.toFixed(1)} µm` }));
      box.append(bar, element("div", { className: "row" }, ...ends));
    }
    if (this.shown.verdicts) {
      for (const [name, colour] of Object.entries(VERDICTS)) {
        const swatch = element("span", { className: "swatch" });
        swatch.style.background = colour;
        box.append(element("div", {}, swatch, name));
      }
    }
    if (this.shown.seams) box.append(element("div", { textContent: `Seams: yellow fits, violet misses by ${WORST_SEAM_UM} µm or more, dotted was not used` }));
    box.hidden = !box.childElementCount;
  }

  at(x, y) {
    const { frame_width: width, frame_height: height, fields } = this.told;
    const from_centre = (field) => Math.hypot(field.mosaic_x_px + width / 2 - x, field.mosaic_y_px + height / 2 - y);
    const inside = fields.filter((field) => x >= field.mosaic_x_px && x < field.mosaic_x_px + width && y >= field.mosaic_y_px && y < field.mosaic_y_px + height);
    return inside.sort((a, b) => from_centre(a) - from_centre(b))[0] || null;
  }

  choose(field) {
    this.chosen = field;
    this.pane.redraw();
    const list = document.getElementById("field");
    list.replaceChildren();
    document.getElementById("field-hint").hidden = Boolean(field);
    if (!field) return;
    const rows = {
      Field: `${field.field} (row ${field.row}, column ${field.column})`,
      Verdict: field.verdict,
      "Focus": field.focus_um === null ? "not known" : `${field.focus_um.toFixed(2)} µm, ${field.focus_source}`,
      "± sd": field.focus_sd_um === null ? null : `${field.focus_sd_um.toFixed(2)} µm`,
      "Kept at": `z ${field.stage_z_um.toFixed(2)} µm`,
      "Out of focus": field.score === null ? null : `${(100 * field.score).toFixed(0)} % probable`,
      Exposures: field.images,
      Attempt: field.attempt,
      Stage: `${field.stage_x_um.toFixed(1)}, ${field.stage_y_um.toFixed(1)} µm`,
      Seams: `${field.seams_accepted} of ${field.seams} used`,
      "Worst seam": field.seam_residual_um === null ? null : `${field.seam_residual_um.toFixed(2)} µm`,
    };
    for (const [name, value] of Object.entries(rows)) {
      if (value !== null) list.append(element("dt", { textContent: name }), element("dd", { textContent: value }));
    }
  }

  nextDoubt() {
    const { frame_width: width, frame_height: height, fields } = this.told;
    const doubtful = fields.filter((field) => ["unsure", "failed"].includes(field.verdict) || (field.score ?? 0) >= DOUBT);
    if (!doubtful.length) return "No field is in doubt.";
    const next = doubtful[(doubtful.indexOf(this.chosen) + 1) % doubtful.length];
    this.choose(next);
    this.pane.show({ x: next.mosaic_x_px + width / 2, y: next.mosaic_y_px + height / 2, scale: 0.8 * this.pane.section.clientWidth / width });
    return `${doubtful.indexOf(next) + 1} of ${doubtful.length} fields in doubt.`;
  }
}

function fill(context, [x, y, width, height], colour, alpha) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fillRect(x, y, width, height);
  context.globalAlpha = 1;
}

function stroke(context, [x, y, width, height], colour, line) {
  context.globalAlpha = 1;
  context.strokeStyle = colour;
  context.lineWidth = line;
  context.strokeRect(x, y, width, height);
}

function ramp(share) {
  const at = Math.max(0, Math.min(1, share)) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(at));
  const mix = [1, 3, 5].map((digit) => {
    const [a, b] = [RAMP[low], RAMP[low + 1]].map((colour) => parseInt(colour.slice(digit, digit + 2), 16));
    return Math.round(a + (b - a) * (at - low));
  });
  return `rgb(${mix.join(",")})`;
}
