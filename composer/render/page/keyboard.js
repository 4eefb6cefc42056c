/* A piano keyboard on which the sounding notes are marked; a click sounds a key. */
class Keyboard {
  static BLACK = [1, 3, 6, 8, 10];

  constructor(player, canvas) {
    this.player = player;
    this.canvas = canvas;
    this.marked = new Set();
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /* From C to B around the piece's notes, at least three octaves. */
  load() {
    const pitches = this.player.notes.list.map((note) => note.pitch);
    const low = pitches.reduce((a, b) => Math.min(a, b), 60), high = pitches.reduce((a, b) => Math.max(a, b), 60);
    this.low = Math.max(0, 12 * Math.floor((low - 6) / 12));
    this.high = Math.min(127, Math.max(this.low + 35, 12 * Math.ceil((high + 1) / 12) - 1));
    this.draw();
  }

  static black(pitch) {
    return Keyboard.BLACK.includes(pitch % 12);
  }

  /* Returns the keys as {pitch, x, width, height}, the white ones first. */
  keys() {
    const pitches = Array.from({ length: this.high - this.low + 1 }, (_, i) => this.low + i);
    const white = pitches.filter((pitch) => !Keyboard.black(pitch)), width = this.canvas.clientWidth / white.length;
    const height = this.canvas.clientHeight;
    const place = (pitch) => white.findIndex((one) => one > pitch) * width;
    return [
      ...white.map((pitch, i) => ({ pitch, x: i * width, width, height })),
      ...pitches.filter(Keyboard.black).map((pitch) => ({ pitch, x: place(pitch) - 0.3 * width, width: 0.6 * width, height: 0.62 * height })),
    ];
  }

  mark(numbers) {
    const now = new Set(numbers.map((i) => this.player.notes.list[i].pitch));
    if (now.size === this.marked.size && [...now].every((pitch) => this.marked.has(pitch))) return;
    this.marked = now;
    this.draw();
  }

  press(event) {
    const hit = this.keys().findLast((key) => event.offsetX >= key.x && event.offsetX < key.x + key.width && event.offsetY < key.height);
    if (hit) this.player.sound(hit.pitch);
  }

  draw() {
    const { canvas } = this, width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
    if (!width || !height || this.low === undefined) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.font = "11px system-ui, sans-serif";
    g.textAlign = "center";
    for (const key of this.keys()) {
      const black = Keyboard.black(key.pitch), sounding = this.marked.has(key.pitch);
      g.fillStyle = sounding ? Roll.style("--mark") : black ? "#26241f" : "#fbfaf7";
      g.fillRect(key.x, 0, key.width, key.height);
      g.strokeStyle = "#6e675d";
      g.strokeRect(key.x + 0.5, -1, key.width - 1, key.height + 0.5);
      const named = !black && key.width >= 11 && (key.pitch % 12 === 0 || (this.player.names && key.width >= 18));
      if (!named) continue;
      g.fillStyle = sounding ? Roll.style("--on-mark") : "#26241f";
      g.fillText(noteName(key.pitch), key.x + key.width / 2, height - 5);
    }
  }
}
