// The viewer's page: panes, buttons, keys, and a link to every place.

import { element } from "./api.js";
import { Drawing, say } from "./drawing.js";
import { Layers } from "./layers.js";
import { is_off } from "./keys.js";
import { format, Pane } from "./pane.js";

const MAGNIFICATIONS = [1.25, 2.5, 5, 10, 20, 40, 63, 100];
const MOST_BUTTONS = 5;

const panes = (await Promise.all([...document.querySelectorAll(".pane")].map(open))).filter(Boolean);
const first = panes[0];
if (!first) {
  for (const button of document.querySelectorAll("#panel button")) button.disabled = true;
  throw new Error("no slide can be shown");
}
let active = first;
const drawing = await Drawing.open(first);
const layers = document.querySelector("[data-layer]") ? await Layers.open(first, () => {}).catch((error) => { say(`The overlays cannot be shown: ${error.message}.`); return null; }) : null;

async function open(section) {
  try { return await Pane.open(section); } catch (error) {
    const told = `${section.getAttribute("aria-label")} cannot be shown: ${error.message}.`;
    section.append(element("p", { className: "problem", role: "alert", textContent: told }));
    return null;
  }
}


// A link to a place.

function link() {
  const [x, y] = first.centre.map(Math.round);
  return `#x=${x}&y=${y}&scale=${first.targetScale.toPrecision(4)}&rotation=${first.rotation}`;
}

function follow(hash) {
  const told = Object.fromEntries([...new URLSearchParams(hash.slice(1))].map(([name, value]) => [name, Number(value)]));
  if (["x", "y", "scale"].every((name) => Number.isFinite(told[name])) && told.scale > 0) {
    first.show({ ...told, rotation: Number.isFinite(told.rotation) ? told.rotation : 0 }, true);
  }
}

async function copy_link() {
  history.replaceState(null, "", link());
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied.");
  } catch {
    say("The address of this page now leads here.");
  }
}

// Two panes that move together: the one that is used leads, and the distance between them stays.

const together = document.getElementById("together");
let offset = null;

function keep_offset() {
  if (panes.length < 2) return;
  const [a, b] = panes.map((pane) => micrometres(pane));
  offset = together.checked ? [b[0] - a[0], b[1] - a[1]] : null;
}

function micrometres(pane) {
  const size = pane.slide.pixel_size_um || 1;
  return pane.centre.map((place) => place * size);
}

function lead(leader) {
  if (!offset || leader !== active) return;
  const other = panes[1 - panes.indexOf(leader)], sign = leader === first ? 1 : -1;
  const [x, y] = micrometres(leader).map((place, axis) => (place + sign * offset[axis]) / (other.slide.pixel_size_um || 1));
  const scale = leader.targetScale * (other.slide.pixel_size_um || 1) / (leader.slide.pixel_size_um || 1);
  other.show({ x, y, scale, rotation: leader.rotation }, true);
}

// Buttons.

const deeds = {
  home: () => active.viewer.viewport.goHome(),
  rotate: () => active.show({ rotation: (active.rotation + 90) % 360 }),
  link: copy_link,
  full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  doubt: () => layers && say(layers.nextDoubt()),
};
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => deeds[button.dataset.do]());

const offered = MAGNIFICATIONS.filter((times) => times <= 2 * first.magnification).slice(-MOST_BUTTONS);
const magnify = (times) => active.show({ scale: times / active.magnification });
document.getElementById("magnification").append(...offered.map((times, index) => {
  const button = element("button", { type: "button", textContent: `${format(times)}×`, title: String(index + 1) });
  button.addEventListener("click", () => magnify(times));
  return button;
}));

// Keys, wherever the focus is, but where something is typed or chosen.

const keys = {
  ArrowLeft: () => active.moveBy(-0.2, 0), ArrowRight: () => active.moveBy(0.2, 0),
  ArrowUp: () => active.moveBy(0, -0.2), ArrowDown: () => active.moveBy(0, 0.2),
  "+": () => active.zoomBy(1.5), "=": () => active.zoomBy(1.5), "-": () => active.zoomBy(1 / 1.5), "0": deeds.home,
  r: deeds.rotate, l: deeds.link, f: deeds.full, n: deeds.doubt, Escape: () => drawing.tool && drawing.take(drawing.tool),
  m: () => drawing.take("measure"), p: () => drawing.take("point"), b: () => drawing.take("box"), g: () => drawing.take("polygon"),
};

document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || is_off(event) || at.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "Enter" && drawing.tool && !at.matches("button, a, summary")) { drawing.enter(event.shiftKey); event.preventDefault(); return; }
  const deed = keys[event.key] || (offered[Number(event.key) - 1] && (() => magnify(offered[Number(event.key) - 1])));
  if (deed) { deed(); event.preventDefault(); }
});

for (const pane of panes) {
  const use = () => { active = pane; };
  pane.section.addEventListener("pointerdown", use, true);
  pane.section.addEventListener("wheel", use, { capture: true, passive: true });
  pane.section.addEventListener("focusin", use);
  pane.viewer.addHandler("viewport-change", () => lead(pane));
}
first.viewer.addHandler("canvas-click", (event) => {
  if (event.quick && layers && !drawing.tool) layers.choose(layers.at(...first.slidePlace(event.position)));
});
first.viewer.addHandler("animation-finish", () => history.replaceState(null, "", link()));
window.addEventListener("hashchange", () => follow(location.hash));
together?.addEventListener("change", keep_offset);

follow(location.hash);
keep_offset();
document.documentElement.dataset.ready = "";
