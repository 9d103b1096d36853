// Judges a focal stack: a slider through its planes, and one key for each decision.

import { ask } from "./api.js";
import { is_off } from "./keys.js";

const stack = document.getElementById("judging"), slider = document.getElementById("slider");
const numbers = (text) => text.split(",").filter(Boolean).map(Number);
const z = numbers(stack.dataset.z), suspected = numbers(document.getElementById("suspected").dataset.z);
const path = (index) => `/labelling/plane.jpg?stack=${encodeURIComponent(stack.dataset.place)}&index=${index}`;
const planes = z.map(() => null);
const line = mark(document.querySelector(".curve svg"));

function show(index) {
  const at = Math.max(0, Math.min(z.length - 1, index));
  slider.value = at;
  const picture = document.getElementById("plane");
  picture.src = path(at);
  picture.alt = `Plane ${at + 1} of ${z.length}`;
  document.getElementById("at").textContent = `${at + 1} of ${z.length}, z ${z[at].toFixed(2)} ${stack.dataset.unit}`;
  const share = (z[at] - z[0]) / (z[z.length - 1] - z[0] || 1), width = line.ownerSVGElement.viewBox.baseVal.width;
  line.setAttribute("x1", 8 + share * (width - 16));
  line.setAttribute("x2", 8 + share * (width - 16));
}

// A line in the curve where the shown plane is.
function mark(svg) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [name, value] of Object.entries({ y1: 0, y2: 132, stroke: "#0b5cad", "stroke-width": 4, opacity: 0.35 })) made.setAttribute(name, value);
  svg.append(made);
  return made;
}

async function judge(state) {
  const told = document.getElementById("told");
  try {
    const now = Number(slider.value);
    const answer = await ask("/api/stacks/label", "POST", { place: stack.dataset.place, state, z: state === "corrected" ? z[now] : null });
    told.textContent = `Saved: ${answer.label_state}.`;
    location.assign(`/labelling?stack=${encodeURIComponent(answer.next || stack.dataset.place)}`);
  } catch (error) { told.textContent = `Not saved: ${error.message}.`; }
}

function next_stack() {
  const links = [...document.querySelectorAll(".stacks a")], at = links.findIndex((link) => link.ariaCurrent);
  location.assign(links[(at + 1) % links.length].href);
}

function next_suspected() {
  const nearest = suspected.map((place) => z.reduce((best, one, index) => (Math.abs(one - place) < Math.abs(z[best] - place) ? index : best), 0));
  if (nearest.length) show(nearest.find((index) => index > Number(slider.value)) ?? nearest[0]);
}

const keys = {
  ArrowLeft: () => show(Number(slider.value) - 1), ArrowRight: () => show(Number(slider.value) + 1),
  b: () => show(Number(stack.dataset.best)), s: next_suspected, n: next_stack,
  c: () => judge("confirmed"), h: () => judge("corrected"), x: () => judge("rejected"),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || is_off(event)) return;
  if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
});
slider.addEventListener("input", () => show(Number(slider.value)));
for (const button of document.querySelectorAll("[data-judge]")) button.addEventListener("click", () => judge(button.dataset.judge));

show(Number(slider.value));
z.forEach((_, index) => { planes[index] = new Image(); planes[index].src = path(index); }); // so that the slider does not wait
document.documentElement.dataset.ready = "";
