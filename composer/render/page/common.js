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
