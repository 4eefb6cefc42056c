/* The piano roll: pitch upwards, time to the right, velocity as lightness, passages as hue. */
class Roll {
  static KEYS = 40; // width of the pitch axis
  static RULER = 22; // height of the time axis, which also has the passages' numbers

  constructor(player, canvas) {
    this.player = player;
    this.canvas = canvas;
    this.shown = false;
    this.start = 0;
    this.marked = [];
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => (this.drag = null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.load();
  }

  /* Fits the pitches to the player's notes. */
  load() {
    const { player, canvas } = this;
    const pitches = player.notes.list.map((note) => note.pitch);
    const low = pitches.reduce((a, b) => Math.min(a, b), 127), high = pitches.reduce((a, b) => Math.max(a, b), 0);
    const middle = pitches.length ? (low + high) / 2 : 60;
    // At least two octaves, so that a melody does not become thick bars.
    this.low = Math.floor(Math.min(low - 1, middle - 12));
    this.high = Math.ceil(Math.max(high + 1, middle + 12));
    const seconds = clock(player.duration);
    canvas.setAttribute("aria-label", `Piano roll: ${pitches.length} notes in ${seconds}; click to go to a time`);
    this.pan(this.start);
  }

  get width() { return Math.max(1, this.canvas.clientWidth - Roll.KEYS); }
  /* Seconds in view: ten initially, fewer on a narrow screen. */
  get span() { return (this.seconds ??= clamp(this.width / 90, 4, 12)); }
  x(t) { return Roll.KEYS + ((t - this.start) / this.span) * this.width; }
  time(event) { return this.start + ((event.offsetX - Roll.KEYS) / this.width) * this.span; }
  row() { return (this.canvas.clientHeight - Roll.RULER) / (this.high - this.low + 1); }
  y(pitch) { return Roll.RULER + (this.high - pitch) * this.row(); }

  show() {
    this.shown = true;
    this.draw();
  }

  /* Frees the memory of a canvas out of view. */
  hide() {
    this.shown = false;
    this.canvas.width = this.canvas.height = 0;
  }

  mark(numbers) {
    this.marked = numbers;
  }

  follow(t) {
    const out = t < this.start || t > this.start + 0.9 * this.span;
    if (calm.matches ? out : true) this.pan(t - (calm.matches ? 0.1 : 0.3) * this.span);
  }

  pan(start) {
    this.start = clamp(start, 0, Math.max(0, this.player.duration + 0.3 - this.span));
  }

  scale(factor, around = this.player.time) {
    const before = clamp((around - this.start) / this.span, 0, 1);
    this.seconds = clamp(this.span * factor, 1, Math.max(4, this.player.duration + 0.3));
    this.pan(around - before * this.seconds);
    this.draw();
  }

  down(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    // In the time axis, or with Shift, a drag chooses a loop; a click there goes to the time.
    const ruler = event.offsetY < Roll.RULER;
    this.drag = { from: this.time(event), x: event.offsetX, loop: event.shiftKey, ruler };
    // A touch may be the start of a scroll: it seeks when it moves sideways or ends.
    if (event.pointerType !== "touch" && !event.shiftKey && !ruler) this.player.seek(this.time(event), false);
  }

  move(event) {
    if (!this.drag) return;
    if (this.drag.ruler && Math.abs(event.offsetX - this.drag.x) > 6) this.drag.loop = true;
    if (this.drag.ruler && !this.drag.loop) return;
    if (this.drag.loop) this.player.setLoop(Math.min(this.drag.from, this.time(event)), Math.max(this.drag.from, this.time(event)));
    else this.player.seek(this.time(event), false);
  }

  up(event) {
    if (this.drag && !this.drag.loop && (this.drag.ruler || event.pointerType === "touch")) this.player.seek(this.time(event), false);
    this.drag = null;
  }

  wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.scale(event.deltaY > 0 ? 1.15 : 1 / 1.15, this.time(event));
      return;
    }
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (!sideways || Math.abs(sideways) < Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
    event.preventDefault();
    if (this.player.playing) this.player.setFollow(false);
    this.pan(this.start + (sideways / this.width) * this.span);
    this.draw();
  }

  /* Returns the colour of a note from the page's styles. */
  colour(velocity, passage, composed = false) {
    const hue = passage >= 0 ? PASSAGE_HUES[passage % PASSAGE_COLOURS] : Roll.style(composed ? "--composed-hue" : "--hue");
    const soft = Number(Roll.style("--soft")), loud = Number(Roll.style("--loud"));
    const light = soft + ((loud - soft) * velocity) / 127;
    return `oklch(${light.toFixed(3)} ${Roll.style("--chroma")} ${hue})`;
  }

  static style(name) {
    Roll.styles ??= new Map();
    if (!Roll.styles.has(name)) Roll.styles.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    return Roll.styles.get(name);
  }

  draw() {
    const { canvas, player } = this;
    const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
    if (!this.shown || !width || !height) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.fillStyle = Roll.style("--paper");
    g.fillRect(0, 0, width, height);
    g.font = "12px system-ui, sans-serif";
    g.textBaseline = "middle";
    const end = this.start + this.span, row = this.row();
    // Clipped to the right of the keys, which are drawn last.
    g.save();
    g.beginPath();
    g.rect(Roll.KEYS, 0, width - Roll.KEYS, height);
    g.clip();
    this.drawRows(g, width, row);
    this.drawBars(g, height, end);
    this.drawTimes(g, height, end);
    this.drawPassages(g, height, end);
    const sounding = new Set(this.marked);
    for (const i of player.notes.within(this.start, end)) this.drawNote(g, i, row, sounding.has(i));
    this.drawLoop(g, width, height);
    const head = Math.round(this.x(player.time));
    g.fillStyle = Roll.style("--mark");
    g.fillRect(head - 1, 0, 2, height);
    g.beginPath();
    g.moveTo(head - 7, 0);
    g.lineTo(head + 7, 0);
    g.lineTo(head, 10);
    g.fill();
    g.restore();
    this.drawKeys(g, height, row);
  }

  drawRows(g, width, row) {
    for (let pitch = this.low; pitch <= this.high; pitch++) {
      if ([1, 3, 6, 8, 10].includes(pitch % 12)) {
        g.fillStyle = Roll.style("--key");
        g.fillRect(Roll.KEYS, this.y(pitch), width, row);
      }
      if (pitch % 12 === 0) {
        g.fillStyle = Roll.style("--faint");
        g.fillRect(Roll.KEYS, Math.round(this.y(pitch) + row) - 1, width, 1);
      }
    }
  }

  /* Bar lines, where the tempo of the piece is known and they are not too dense; and where composed music begins. */
  drawBars(g, height, end) {
    const { metre, from } = this.player, lines = metre.known ? metre.lines(this.start, end) : [];
    g.fillStyle = Roll.style("--line");
    if (lines.length * 14 < this.width) for (const time of lines) g.fillRect(Math.round(this.x(time)), Roll.RULER, 1, height);
    if (from === undefined) return;
    g.fillStyle = Roll.style("--accent");
    for (let y = 0; y < height; y += 8) g.fillRect(Math.round(this.x(from)) - 1, y, 2, 4);
  }

  drawTimes(g, height, end) {
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 3600].find((one) => (one / this.span) * this.width >= 55) ?? 3600;
    g.textAlign = "left";
    for (let i = Math.ceil(this.start / step); i * step <= end; i++) {
      const x = Math.round(this.x(i * step));
      g.fillStyle = Roll.style("--faint");
      g.fillRect(x, 0, 1, height);
      g.fillStyle = Roll.style("--quiet");
      // No time label at the place of a passage's number.
      const covered = this.player.passages.some((passage) => Math.abs(this.flag(passage) - x) < 36 && this.flag(passage) + 20 > x);
      if (Number.isInteger(i * step) && !covered) g.fillText(clock(i * step), x + 4, Roll.RULER / 2);
    }
  }

  drawPassages(g, height, end) {
    this.player.passages.forEach((passage, i) => {
      if (passage.end < this.start || passage.start > end) return;
      const left = this.x(passage.start), right = this.x(passage.end), colour = Roll.style(`--copy-${i % PASSAGE_COLOURS}`);
      g.fillStyle = colour;
      g.globalAlpha = 0.13;
      g.fillRect(left, Roll.RULER, right - left, height - Roll.RULER);
      g.globalAlpha = 1;
      g.fillRect(left, Roll.RULER - 4, right - left, 4);
      const place = this.flag(passage);
      g.fillRect(place, 0, 20, Roll.RULER);
      g.fillStyle = Roll.style("--on-copy");
      g.textAlign = "center";
      g.fillText(i + 1, place + 10, Roll.RULER / 2);
    });
  }

  /* Returns the place of a passage's number: in view as long as the passage is. */
  flag(passage) {
    const left = this.x(passage.start);
    return clamp(Roll.KEYS, left, Math.max(left, this.x(passage.end) - 20));
  }

  drawNote(g, i, row, sounding) {
    const note = this.player.notes.list[i];
    const left = this.x(note.onset), width = Math.max(2, this.x(note.onset + note.duration) - left - 1);
    const tall = clamp(row - 1, 3, 18), top = this.y(note.pitch) + (row - tall) / 2;
    const composed = this.player.from !== undefined && note.onset > this.player.from - 1e-6 && !note.ids.length;
    g.fillStyle = sounding ? Roll.style("--mark") : this.colour(note.velocity, this.player.passageOf[i], composed);
    g.beginPath();
    g.roundRect(left, top, width, tall, Math.min(2, tall / 3));
    g.fill();
    if (this.player.names && tall >= 9 && width >= 20) {
      g.fillStyle = Roll.style(sounding ? "--on-mark" : "--paper");
      g.font = `${Math.min(12, tall)}px system-ui, sans-serif`;
      g.textAlign = "left";
      g.fillText(noteName(note.pitch), left + 3, top + tall / 2 + 0.5);
    }
    if (!sounding) return;
    // Marked by more than colour.
    g.lineWidth = 2;
    g.strokeStyle = Roll.style("--ink");
    g.stroke();
  }

  drawLoop(g, width, height) {
    const { loop, loopStart } = this.player;
    g.fillStyle = Roll.style("--accent");
    if (loopStart !== null) g.fillRect(this.x(loopStart) - 1, 0, 2, height);
    if (!loop) return;
    const left = this.x(loop.start), right = this.x(loop.end);
    g.globalAlpha = 0.12;
    g.fillRect(left, 0, right - left, height);
    g.globalAlpha = 1;
    g.fillRect(left - 2, 0, 2, height);
    g.fillRect(right, 0, 2, height);
    g.fillRect(left, height - 4, right - left, 4);
  }

  drawKeys(g, height, row) {
    g.fillStyle = Roll.style("--paper");
    g.fillRect(0, 0, Roll.KEYS, height);
    g.fillStyle = Roll.style("--line");
    for (let pitch = this.low; pitch <= this.high; pitch++)
      if ([1, 3, 6, 8, 10].includes(pitch % 12)) g.fillRect(Roll.KEYS - 10, this.y(pitch), 9, row);
    g.fillRect(Roll.KEYS - 1, 0, 1, height);
    g.fillStyle = Roll.style("--ink");
    g.textAlign = "right";
    for (let pitch = this.low; pitch <= this.high; pitch++)
      if (pitch % 12 === 0) g.fillText(noteName(pitch), Roll.KEYS - 13, clamp(this.y(pitch) + row / 2, Roll.RULER + 7, height - 7));
  }
}
