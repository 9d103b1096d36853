// Keys of one character can be switched off: speech input and slips press them (WCAG 2.1.4). Kept by this browser.

const NAME = "parfocal-keys", box = document.getElementById("keys");

if (box) box.checked = localStorage.getItem(NAME) !== "off";
box?.addEventListener("change", () => localStorage.setItem(NAME, box.checked ? "on" : "off"));

export function is_off(event) { return event.key.length === 1 && box !== null && !box.checked; }
