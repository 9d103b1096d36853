// The instrument's page: status by server-sent events, buttons as requests.

import { ask, element } from "./api.js";

const BUSY = ["scanning", "paused", "stitching"];
const MOSAIC_EVERY_MS = 2000;
const $ = (id) => document.getElementById(id);
let shown = {};

function show(status) {
  shown = status;
  const busy = BUSY.includes(status.state);
  $("words").textContent = (status.scan ? `${status.scan}: ` : "") + status.words;
  $("words").dataset.state = status.state;
  $("place").textContent = `x ${status.x_um.toFixed(1)}  y ${status.y_um.toFixed(1)}  z ${status.z_um.toFixed(2)} µm`;
  $("progress").max = Math.max(1, status.fields);
  $("progress").value = status.fields_done;
  const figures = {
    Fields: `${status.fields_done} of ${status.fields}`,
    "Images a field": status.fields_done ? (status.images / status.fields_done).toFixed(2) : "–",
    "In doubt": status.in_doubt,
    "Time left": status.left_s === null ? "–" : time(status.left_s),
  };
  $("figures").replaceChildren(...Object.entries(figures).flatMap(([name, value]) =>
    [element("dt", { textContent: name }), element("dd", { textContent: value })]));
  $("warnings").replaceChildren(...status.warnings.map((warning) => element("p", { className: "problem", textContent: `Warning: ${warning}` })));
  $("figures").hidden = $("progress").hidden = !status.scan;
  control("pause").disabled = status.state !== "scanning";
  control("resume").disabled = status.state !== "paused";
  control("stop").disabled = !busy;
  for (const button of document.querySelectorAll("[data-jog], main form button")) button.disabled = busy;
  $("open-slide").hidden = busy || !status.slide;
  if (status.slide) $("open-slide").href = `/slides/${status.slide}`;
  if (!busy) offer(status);
}

function offer(status) {
  const broken = $("broken-off"), before = [...broken.options].map((option) => option.value);
  if (before.join("\n") !== status.broken_off.join("\n")) {
    broken.replaceChildren(...status.broken_off.map((name) => element("option", { textContent: name })));
    if (status.broken_off.includes(status.scan)) broken.value = status.scan;
  }
  $("go-on").hidden = status.broken_off.length === 0;
  if (status.state !== "done" || [...$("scan").options].some((option) => option.value === status.scan)) return;
  $("scan").append(element("option", { textContent: status.scan }));
  $("again").hidden = false;
}

const control = (name) => document.querySelector(`[data-control="${name}"]`);

function time(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.round(seconds)} s`;
}

async function act(path, body = {}) {
  $("problem").hidden = true;
  try { show(await ask(`/api/instrument/${path}`, "POST", body)); } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  }
}

for (const button of document.querySelectorAll("[data-jog]")) {
  button.addEventListener("click", () => {
    const [x, y, z] = button.dataset.jog.split(",").map(Number), step = Number($("xy-step").value);
    act("jog", { dx_um: x * step, dy_um: y * step, dz_um: z * Number($("z-step").value) });
  });
}
for (const button of document.querySelectorAll("[data-control]")) button.addEventListener("click", () => act(button.dataset.control));

function submits(id, path, numbers = []) {
  $(id)?.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    for (const name of numbers) fields[name] = Number(fields[name]);
    act(path, fields);
  });
}
submits("start", "scan", ["width_mm", "height_mm"]);
submits("again", "rescan");
submits("go-on", "go-on");
submits("under", "specimen", ["seed"]);

let drawn = -1;
setInterval(() => {
  if (!shown.fields_done || shown.number === drawn) return;
  drawn = shown.number;
  const next = new Image();
  next.onload = () => { $("mosaic").src = next.src; $("mosaic").hidden = false; };
  next.src = `/instrument/mosaic.jpg?n=${drawn}`;
}, MOSAIC_EVERY_MS);

new EventSource("/api/instrument/events").onmessage = (event) => show(JSON.parse(event.data));
