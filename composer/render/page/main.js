const network = document.getElementById("network");
Player.composing = network && new Composing(JSON.parse(network.textContent));
const players = [...document.querySelectorAll(".player")].map((root) => {
  const data = root.querySelector("script");
  return new Player(root, JSON.parse(data.textContent));
});
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.player.show(entry.isIntersecting);
}, { rootMargin: "600px" });
for (const player of players) near.observe(player.root);
/* All views are drawn for printing. */
window.addEventListener("beforeprint", () => players.forEach((player) => {
  player.show(true);
  player.score.crop(true);
}));
window.addEventListener("afterprint", () => players.forEach((player) => player.score.crop(false)));

dark.addEventListener("change", () => {
  Roll.styles = null;
  for (const player of players) {
    player.ramp();
    player.roll.draw();
    player.keyboard.draw();
  }
});

const help = document.getElementById("help");
help.addEventListener("click", (event) => {
  if (event.target === help || event.target.closest("[data-do=close]")) help.close();
});

/* After a click the space bar plays; after the tab key it activates the focused button. */
let tabbed = false;
document.addEventListener("pointerdown", () => (tabbed = false), true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Tab") tabbed = true;
  if (event.defaultPrevented || help.open || event.metaKey) return;
  // Some keyboards need Alt, or Ctrl and Alt, for brackets.
  if ((event.ctrlKey || event.altKey) && !["[", "]"].includes(event.key)) return;
  const target = event.target instanceof Element ? event.target : document.body;
  const player = target.closest(".player")?.player ?? (players.length === 1 && document.body.className === "single" ? players[0] : null);
  if (!player) return;
  if (event.key === " " && tabbed && target.closest("button, a")) return;
  if (target.closest("select") && (event.key === " " || event.key.startsWith("Arrow") || /^(Home|End)$/.test(event.key))) return;
  if (event.key === "Escape") player.closeMenu();
  if (target.closest("summary, .versions button") && event.key === " ") return;
  if (target.closest(".compose input, .compose select") && event.key !== "?") return;
  if (target.closest(".loudness") && (event.key.startsWith("Arrow") || /^(Home|End)$/.test(event.key))) return;
  if (event.repeat && [" ", "m", "l", "f", "n", "?"].includes(event.key)) return;
  if (player.key(event)) event.preventDefault();
});
