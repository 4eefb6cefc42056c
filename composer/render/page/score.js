/* The pages of the score. Each is in a shadow tree, so that ids and styles of two scores do not conflict. */
class Score {
  static NARROW = 560; // pixels below which the pages for a phone are shown
  static STYLE = `
    :host { display: block; }
    svg { display: block; width: 100%; height: auto; fill: currentColor; }
    svg, svg svg { color: var(--ink); }
    .note { cursor: pointer; }
    .copied { color: var(--copy) !important; fill: var(--copy) !important; }
    .badge rect { fill: var(--copy) !important; stroke: none !important; }
    .badge text { fill: var(--on-copy) !important; font: 700 1px system-ui, sans-serif; text-anchor: middle; }
    .halo { display: none; fill: var(--halo) !important; stroke: var(--mark) !important; }
    .gone { opacity: 0.25; }
    .sounding { color: var(--mark) !important; fill: var(--mark) !important; }
    .sounding .halo { display: inline; }`;

  constructor(player, box) {
    this.player = player;
    this.box = box;
    this.shown = false;
    this.zoom = 1;
    box.addEventListener("click", (event) => this.click(event));
    // Wide or narrow pages, by the width of the box.
    new ResizeObserver(() => this.fit()).observe(box);
    this.load([], "");
  }

  /* Shows the pages of another piece; `narrow` are those for a phone, a gzip file of a JSON list in base64. */
  load(pages, narrow) {
    this.wide = pages;
    this.packed = narrow;
    this.narrow = null;
    this.noteOf = new Map();
    this.player.notes.list.forEach((note, i) => {
      for (const id of note.ids) if (!this.noteOf.has(id)) this.noteOf.set(id, i);
    });
    this.place(pages);
    this.fit();
  }

  /* Replaces the pages in the box. */
  place(pages) {
    const shown = this.shown;
    this.pages = pages;
    this.elements = new Map();
    this.marked = new Set();
    this.system = null;
    this.shown = false;
    this.hosts = pages.map(() => {
      const host = document.createElement("div");
      host.className = "page";
      return host;
    });
    this.box.replaceChildren(...this.hosts);
    if (shown) this.show();
  }

  async fit() {
    const width = this.box.clientWidth;
    if (!width || !this.packed) return;
    const packed = this.packed, narrow = width < Score.NARROW && !matchMedia("print").matches;
    if (narrow && !this.narrow) {
      const pages = JSON.parse(new TextDecoder().decode(await unpacked(packed)));
      if (packed !== this.packed) return;
      this.narrow = pages;
    }
    const pages = narrow ? this.narrow : this.wide;
    if (pages === this.pages) return;
    this.place(pages);
    this.player.refresh(true);
  }

  show() {
    if (this.shown) return;
    this.shown = true;
    let bar = 0;
    this.hosts.forEach((host, i) => (bar = this.fill(host, this.pages[i], bar)));
    this.colour();
  }

  /* Removes the shapes, but keeps their space. */
  hide() {
    if (!this.shown) return;
    this.shown = false;
    for (const host of this.hosts) host.shadowRoot.replaceChildren();
    this.elements.clear();
    this.marked.clear();
    this.system = null;
  }

  /* Draws a page; returns the number of bars up to its end. */
  fill(host, text, bar) {
    const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (svg.localName !== "svg") {
      root.textContent = "This page of the score is damaged.";
      return bar;
    }
    for (const one of svg.querySelectorAll("script, foreignObject")) one.remove();
    const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")].map(parseFloat);
    if (!svg.hasAttribute("viewBox") && width && height) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const box = svg.getAttribute("viewBox")?.trim().split(/[\s,]+/);
    if (box?.length === 4) host.style.aspectRatio = `${box[2]} / ${box[3]}`;
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", `Score, page ${this.hosts.indexOf(host) + 1} of ${this.hosts.length}`);
    this.ink(svg);
    Score.fonts(svg);
    const style = document.createElement("style");
    style.textContent = Score.STYLE;
    root.replaceChildren(document.importNode(svg, true), style);
    for (const element of root.querySelectorAll("[id]")) {
      if (!this.noteOf.has(element.id)) continue;
      if (!this.elements.has(element.id)) this.elements.set(element.id, []);
      this.elements.get(element.id).push(element);
    }
    for (const measure of root.querySelectorAll(".measure")) this.describe(measure, ++bar);
    return bar;
  }

  /* Crops the pages to what is drawn on them, for paper: a page that is half empty would leave the one before it empty. */
  crop(cropped) {
    for (const host of this.hosts) {
      const svg = host.shadowRoot?.querySelector("svg");
      if (!svg) continue;
      svg.dataset.whole ??= svg.getAttribute("viewBox") ?? "";
      svg.setAttribute("viewBox", svg.dataset.whole);
      const whole = svg.viewBox.baseVal, ink = svg.getBoundingClientRect(), page = [whole.width, whole.height];
      const boxes = [...svg.querySelectorAll(".system, .pgHead")].map((one) => one.getBoundingClientRect()).filter((box) => box.height);
      if (!cropped || !boxes.length || !ink.height) continue;
      const bottom = Math.max(...boxes.map((box) => box.bottom)), height = ((bottom - ink.top) / ink.height) * page[1] * 1.02;
      svg.setAttribute("viewBox", `${whole.x} ${whole.y} ${page[0]} ${Math.min(page[1], height)}`);
      host.style.setProperty("--shape", page[0] / Math.min(page[1], height));
    }
  }

  /* Names a bar for screen readers, by its notes in the order in which they sound. */
  describe(measure, number) {
    const { list } = this.player.notes;
    const found = [...new Set([...measure.querySelectorAll("[id]")].map((one) => this.noteOf.get(one.id)).filter((i) => i !== undefined))];
    const names = found.sort((a, b) => a - b).map((i) => noteName(list[i].pitch).replace("♯", " sharp "));
    const more = names.length > 16 ? `, and ${names.length - 16} more` : "";
    measure.setAttribute("role", "img");
    measure.setAttribute("aria-label", `Bar ${number}: ${names.slice(0, 16).join(", ") || "no notes"}${more}`);
  }

  /* Replaces black by the text colour of the page, which is light in dark mode. */
  ink(svg) {
    for (const one of [svg, ...svg.querySelectorAll("*")])
      for (const name of ["fill", "stroke", "color"])
        if (/^(black|#000(000)?|rgb\(0, ?0, ?0\))$/.test(one.getAttribute(name) ?? "")) one.setAttribute(name, name === "color" ? "inherit" : "currentColor");
  }

  /* Moves fonts to the document: fonts inside a shadow tree are ignored. */
  static fonts(svg) {
    for (const style of svg.querySelectorAll("style"))
      for (const [face] of style.textContent.matchAll(/@font-face\s*\{[^}]*\}/g)) {
        Score.faces ??= new Set();
        if (Score.faces.has(face)) continue;
        Score.faces.add(face);
        const kept = document.createElement("style");
        kept.textContent = face;
        document.head.append(kept);
      }
  }

  /* Gives copied notes the colour of their passage, and the first note of a passage its number. */
  colour() {
    const seen = new Set();
    // Notes that this version of the piece does not have.
    if (this.player.from !== undefined)
      for (const host of this.hosts)
        for (const note of host.shadowRoot.querySelectorAll(".note")) note.classList.toggle("gone", !this.noteOf.has(note.id));
    this.player.notes.list.forEach((note, i) => {
      const passage = this.player.passageOf[i];
      if (passage < 0) return;
      const elements = note.ids.flatMap((id) => this.elements.get(id) ?? []);
      for (const element of elements) {
        element.classList.add("copied");
        element.style.setProperty("--copy", `var(--copy-${passage % PASSAGE_COLOURS})`);
      }
      if (!elements.length || seen.has(passage)) return;
      seen.add(passage);
      this.badge(elements[0], passage);
    });
  }

  /* Writes the passage's number over the bar in which it begins, or over the note if there are no bars. */
  badge(element, passage) {
    const bar = element.closest(".measure"), note = Score.box(Score.head(element)), box = bar ? Score.box(bar) : note;
    if (!note || !box) return;
    const size = 1.7 * Math.min(note.width, note.height), left = note.x - 0.3 * size, top = box.y - 1.35 * size;
    const badge = Score.shape("g", { class: "badge" }), text = Score.shape("text", { x: left + 0.6 * size, y: top + 0.9 * size });
    text.textContent = passage + 1;
    text.style.fontSize = `${0.9 * size}px`;
    badge.style.setProperty("--copy", `var(--copy-${passage % PASSAGE_COLOURS})`);
    badge.append(Score.shape("rect", { x: left, y: top, width: 1.2 * size, height: 1.2 * size, rx: 0.2 * size }), text);
    (bar ?? element.parentNode).append(badge);
  }

  static shape(name, attributes) {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    return shape;
  }

  /* Returns a note without its stem and flag. */
  static head(element) {
    return element.querySelector(".notehead") ?? element;
  }

  /* Returns the bounding box in the element's own coordinates; null where it is not drawn. */
  static box(element) {
    try {
      return element.getBBox();
    } catch {
      return null;
    }
  }

  static halo(element) {
    if (element.querySelector(".halo")) return;
    const head = Score.head(element), box = Score.box(head);
    if (!box) return;
    const pad = 0.45 * Math.min(box.width, box.height);
    const place = { x: box.x - pad, y: box.y - pad, width: box.width + 2 * pad, height: box.height + 2 * pad, rx: pad };
    head.prepend(Score.shape("rect", { ...place, class: "halo", "stroke-width": pad / 3 }));
  }

  mark(numbers) {
    if (!this.shown) return;
    const { list } = this.player.notes;
    const now = new Set(numbers.flatMap((i) => list[i].ids).filter((id) => this.elements.has(id)));
    for (const id of this.marked) if (!now.has(id)) for (const one of this.elements.get(id)) one.classList.remove("sounding");
    for (const id of now)
      if (!this.marked.has(id))
        for (const one of this.elements.get(id)) {
          Score.halo(one);
          one.classList.add("sounding");
        }
    this.marked = now;
  }

  /* Scrolls to the system of the latest note if it has changed. */
  follow(numbers, always = false) {
    if (!this.shown) return;
    const { list } = this.player.notes;
    const latest = [...numbers].sort((a, b) => list[b].onset - list[a].onset).find((i) => this.elements.has(list[i].ids[0]));
    if (latest === undefined) return;
    const note = this.elements.get(list[latest].ids[0])[0];
    const system = note.closest(".system") ?? note;
    const box = this.box.getBoundingClientRect(), at = note.getBoundingClientRect();
    const move = {};
    if (always || system !== this.system) {
      this.system = system;
      const place = system.getBoundingClientRect();
      const margin = Math.max(4, Math.min(24, (box.height - place.height) / 2));
      if (place.top < box.top + margin || place.bottom > box.bottom - margin) move.top = this.box.scrollTop + place.top - box.top - margin;
    }
    if (this.box.scrollWidth > this.box.clientWidth && (at.left < box.left + 24 || at.right > box.right - 48))
      move.left = this.box.scrollLeft + at.left - box.left - 0.2 * box.width;
    if (move.top === undefined && move.left === undefined) return;
    // The next system scrolls smoothly; a distant one is shown immediately.
    const far = Math.abs((move.top ?? this.box.scrollTop) - this.box.scrollTop) > 1.2 * box.height;
    this.box.scrollTo({ ...move, behavior: calm.matches || far || !this.player.playing ? "instant" : "smooth" });
  }

  /* Returns the note at a point, or the nearest one: a finger is wider than a note. */
  click(event) {
    let hit = event.composedPath().find((one) => one instanceof Element && one.parentNode && this.noteOf.has(one.id));
    if (!hit) {
      let nearest = 30;
      for (const elements of this.elements.values())
        for (const one of elements) {
          const place = Score.head(one).getBoundingClientRect();
          const far = Math.hypot((place.left + place.right) / 2 - event.clientX, (place.top + place.bottom) / 2 - event.clientY);
          if (far < nearest) [nearest, hit] = [far, one];
        }
    }
    if (hit) this.player.seek(this.player.notes.list[this.noteOf.get(hit.id)].onset);
  }

  scale(step) {
    const levels = [0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3];
    this.zoom = levels[clamp(levels.indexOf(this.zoom) + step, 0, levels.length - 1)];
    this.box.style.setProperty("--zoom", this.zoom);
    this.follow(this.player.soundingAt(this.player.time), true);
  }
}
