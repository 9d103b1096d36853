// A sheet: fields to look at, a tally by clicking, and a form. Each entry is sent at once and kept by the server.

import { ask, element, renew } from "./api.js";
import { is_off } from "./keys.js";

const NEAR_PX = 14;
const RETRY_MS = 1500;
const NOT_LET_IN = [401, 403, 404];  // signed out, an older token, somebody else's browser: nothing is wrong with the entry
const BAR_PX = 140;
const STEPS = [1, 2, 5];
const SVG = "http://www.w3.org/2000/svg";

const sheet = document.getElementById("sheet");
const path = `/api/sheets/${sheet.dataset.sheet}`;
const frames = Number(sheet.dataset.frames), is_whole = sheet.dataset.whole !== undefined;
const told = await ask(path);
const marks = new Map(told.marks.map(({ key, mark }) => [key, mark]));
const typed = new Map(told.typed.map(({ item, frame, count }) => [place(item, frame), count]));
const looked = new Set(told.frames_looked_at);
const tallies = [...document.querySelectorAll(".tally")];
let grades = told.grades, now = 0, chosen = null;

function place(item, frame) { return `${item} ${frame ?? ""}`; }

// Saving: one entry after the other, each with a key, sent again until the server has it.

const queue = [];
let sending = false;

function say(words, bad = false, ...more) {
  const saved = document.getElementById("saved");
  saved.replaceChildren(words, ...more);
  saved.classList.toggle("bad", bad);
}

function new_key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function enter(entry, key = new_key()) {
  queue.push({ key, entry });
  send();
  return key;
}

async function send() {
  if (sending) return;
  sending = true;
  while (queue.length) {
    say("Saving…");
    try {
      const progress = await ask(`${path}/entries`, "POST", queue[0]);
      grades = progress.grades;
      queue.shift();
      if (!queue.length) say("Saved.");
    } catch (error) {
      if (NOT_LET_IN.includes(error.status)) { await signed_in_again(error); continue; }
      if (!(error instanceof TypeError) && !(error instanceof SyntaxError)) {
        queue.shift();
        say(`Not saved: ${error.message}. Reload the page to see what is.`, true);
        continue;
      }
      say("The server does not answer. What you entered is sent again until it is saved.", true);
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
  sending = false;
  count();
}

async function signed_in_again(error) {
  const link = element("a", { href: "/sign-in", target: "_blank", rel: "noopener", textContent: "Sign in again" });
  say(`Not saved yet: ${error.message}. `, true, link, " in another tab: what you entered is kept here, and sent then.");
  while (!await renew()) await new Promise((done) => setTimeout(done, RETRY_MS));
}

addEventListener("beforeunload", (event) => { if (queue.length) event.preventDefault(); });
for (const form of sheet.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (queue.length) { event.preventDefault(); if (!document.querySelector("#saved a")) say("Not everything is saved yet.", true); }
    else if (is_whole && form.id === "submit" && in_part_untold()) { event.preventDefault(); say("In how many fields you counted is not told yet.", true); }
  });
}

// Counting.

function marked(item, frame) { return [...marks.values()].filter((mark) => mark.item === item && (frame === undefined || mark.frame === frame)).length; }

function here() { return frames ? now : null; }

function total(item) {
  let sum = marked(item);
  for (const [key, count] of typed) if (key.split(" ")[0] === item) sum += count;
  return sum;
}

function count() {
  for (const row of tallies) {
    const item = row.dataset.item, input = row.querySelector("input"), least = frames ? marked(item, now) : 0;
    input.min = least;
    if (document.activeElement !== input) input.value = least + (typed.get(place(item, here())) || 0);
    row.querySelector(".total").textContent = frames && !is_whole ? total(item) : "";
    row.querySelector(".grade").textContent = grades[item] || "";
  }
  if (frames) document.getElementById("looked").textContent = is_whole ? "a whole slide" : `${looked.size} of ${frames} fields looked at`;
}

for (const row of tallies) {
  const item = row.dataset.item, input = row.querySelector("input");
  input.addEventListener("change", () => {
    const least = Number(input.min), wanted = Math.max(least, Math.floor(Number(input.value) || 0));
    input.value = wanted;
    typed.set(place(item, here()), wanted - least);
    enter({ what: "typed", item, frame: here(), count: wanted - least });
    count();
  });
  row.querySelector(".item")?.addEventListener("click", () => choose(row));
}

function choose(row) {
  chosen = row;
  for (const one of tallies) one.querySelector(".item").setAttribute("aria-pressed", one === row);
}

// The rest of the form.

for (const input of document.querySelectorAll("[data-answer]")) {
  input.value = told.answers[input.dataset.answer] || "";
  input.addEventListener("change", () => enter({ what: "answered", item: input.dataset.answer, words: input.value }));
}
const cannot_tell = document.getElementById("non-interpretable");
cannot_tell.checked = !told.interpretable;
cannot_tell.addEventListener("change", () => enter({ what: "interpretable", told: !cannot_tell.checked }));

const eyepiece = document.getElementById("eyepiece");
function in_part_untold() { return !cannot_tell.checked && !eyepiece.hidden && !Number(document.getElementById("fields").value); }
if (eyepiece) {
  const inputs = { fields: "fields", magnification: "magnification", field_number_mm: "field-number-mm" };
  const read = () => Object.fromEntries(Object.entries(inputs).map(([name, id]) => [name, Number(document.getElementById(id).value)]));
  for (const [name, id] of Object.entries(inputs)) if (told.eyepiece) document.getElementById(id).value = told.eyepiece[name];
  const keep = () => { if (read().fields) enter({ what: "eyepiece", ...read() }); };  // what nobody typed is not told
  eyepiece.addEventListener("change", keep);
  const in_part = document.getElementById("in-part");
  if (in_part) {
    in_part.checked = Boolean(told.eyepiece);
    eyepiece.hidden = !told.eyepiece;
    in_part.addEventListener("change", () => {
      eyepiece.hidden = !in_part.checked;
      if (in_part.checked) keep(); else enter({ what: "everywhere" });
    });
  }
}

// Marks.

function colour_of(mark) { return getComputedStyle(tallies.find((row) => row.dataset.item === mark.item).querySelector(".dot")).backgroundColor; }

// At shares of a picture that is so large on the screen: a mark there is taken back, else there is one more.
function put(x, y, [width, height]) {
  if (!chosen) { say("Choose what you count first.", true); return; }
  if (x < 0 || x > 1 || y < 0 || y > 1) return;
  const item = chosen.dataset.item;
  const near = [...marks].find(([, mark]) => mark.frame === now && mark.item === item
    && Math.hypot((mark.x - x) * width, (mark.y - y) * height) < NEAR_PX);
  if (near) { remove(near[0]); return; }
  const mark = { item, frame: now, x, y };
  marks.set(enter({ what: "mark", ...mark }), mark);
  paint();
  count();
}

function remove(key) {
  marks.delete(key);
  enter({ what: "unmark", mark: key });
  paint();
  count();
}

function undo() { const last = [...marks].filter(([, mark]) => mark.frame === now).pop(); if (last) remove(last[0]); }

function looked_at() {
  if (looked.has(now)) return;
  looked.add(now);
  enter({ what: "looked", frame: now });
}

// Buttons of the picture, and keys wherever the focus is, but where something is typed or chosen.
function listen(deeds, keys) {
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => deeds[button.dataset.do]());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || is_off(event) || event.target.matches("input:not([type=checkbox]), select, textarea, .frame-scroll")) return;
    if (event.key === "Enter" && event.target.matches("button, a, summary, input")) return;
    const row = tallies[Number(event.key) - 1], deed = keys[event.key] || (row && (() => choose(row)));
    if (deed) { deed(); event.preventDefault(); }
  });
  if (tallies.length) choose(tallies[0]);
}

// Fields.

const picture = document.getElementById("picture"), frame = document.getElementById("frame"), layer = document.getElementById("marks");
const ahead = new Image();

function address(number) { return `/sheets/${sheet.dataset.sheet}/frames/${number}.jpg`; }

function show(number) {
  now = Math.min(Math.max(number, 0), frames - 1);
  picture.alt = `Field ${now + 1}`;
  picture.src = address(now);
  document.getElementById("field-number").textContent = `Field ${now + 1} of ${frames}`;
  for (const [index, button] of [...document.getElementById("strip").children].entries()) {
    if (index === now) { button.setAttribute("aria-current", "true"); button.scrollIntoView({ block: "nearest", inline: "nearest" }); } else button.removeAttribute("aria-current");
  }
  paint();
  count();
}

function seen() {
  looked_at();
  document.getElementById("strip").children[now].classList.add("looked");
  if (now + 1 < frames) ahead.src = address(now + 1);
  count();
  scale();
}

function failed() {
  enter({ what: "unshown", frame: now });
  document.getElementById("field-number").textContent = `Field ${now + 1} of ${frames} cannot be shown: it is left out`;
}

function paint() {
  if (is_whole) { whole.redraw(); return; }
  layer.setAttribute("viewBox", `0 0 ${told.width} ${told.height}`);
  const px = told.width / (frame.clientWidth || told.width);
  layer.replaceChildren(...[...marks.values()].filter((mark) => mark.frame === now).flatMap((mark) => {
    return [["#fff", 5], [colour_of(mark), 2.5]].map(([stroke, width]) => {
      const circle = document.createElementNS(SVG, "circle");
      const values = { cx: mark.x * told.width, cy: mark.y * told.height, r: 8 * px, fill: "none", stroke, "stroke-width": width * px };
      for (const [name, value] of Object.entries(values)) circle.setAttribute(name, value);
      return circle;
    });
  }));
}

function scale() {
  const bar = document.getElementById("scale");
  bar.hidden = !told.um_per_px;
  if (bar.hidden) return;
  const um_per_px = told.um_per_px * told.width / frame.clientWidth, most = BAR_PX * um_per_px;
  const power = 10 ** Math.floor(Math.log10(most)), length = power * STEPS.filter((step) => step * power <= most).pop();
  bar.querySelector(".scale-line").style.width = `${length / um_per_px}px`;
  bar.querySelector(".scale-words").textContent = `${Number(length.toPrecision(3))} µm`;
}

function click(event) {
  const box = frame.getBoundingClientRect();
  put((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, [box.width, box.height]);
}

if (frames && !is_whole) {
  const deeds = {
    previous: () => show(now - 1),
    next: () => show(now + 1),
    undo,
    zoom: () => {
      const large = frame.classList.toggle("large");
      document.querySelector("[data-do=zoom]").setAttribute("aria-pressed", large);
      paint();
      scale();
    },
  };
  document.getElementById("strip").append(...Array.from({ length: frames }, (_, index) => {
    const button = element("button", { type: "button", textContent: String(index + 1), ariaLabel: `Field ${index + 1}` });
    button.classList.toggle("looked", looked.has(index));
    button.addEventListener("click", () => show(index));
    return button;
  }));
  listen(deeds, { ArrowLeft: deeds.previous, ArrowRight: deeds.next, u: undo, z: deeds.zoom });
  picture.addEventListener("load", seen);
  picture.addEventListener("error", failed);
  frame.addEventListener("click", click);
  addEventListener("resize", () => { paint(); scale(); });
  show(Math.max(0, Array.from({ length: frames }, (_, index) => index).find((index) => !looked.has(index)) ?? 0));
}

// A whole slide.

let whole = null;
if (is_whole) {
  const { Whole } = await import("./whole.js");
  whole = await Whole.open(told, () => marks.values(), colour_of);
  listen({ home: () => whole.home(), undo }, { ...whole.keys, u: undo, Enter: () => put(...whole.middle, whole.size) });
  whole.onClick((x, y) => put(x, y, whole.size));
  whole.onSeen(looked_at);
  whole.onFailed(() => say("A part of the slide did not arrive. Reload the page to see it.", true));
}
count();
document.documentElement.dataset.ready = "";
