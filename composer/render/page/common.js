"use strict";

const SPEEDS = [0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2];
const PASSAGE_COLOURS = 6;
const PASSAGE_HUES = [150, 330, 65, 200, 295, 110]; // those of --copy-0 to --copy-5
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

const SHARPS = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];

/* Returns a pitch in scientific notation: 60 is C4. */
function noteName(pitch) {
  return `${SHARPS[pitch % 12]}${Math.floor(pitch / 12) - 1}`;
}

/* Returns the bytes of a base64 text. */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/* Returns the bytes of a gzip file in base64. */
async function unpacked(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/* Saves bytes as a file, as a click on a link does. */
function save(name, bytes, type) {
  const link = document.createElement("a"), address = URL.createObjectURL(new Blob([bytes], { type }));
  Object.assign(link, { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
