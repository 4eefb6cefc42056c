/* One piece: its views, its buttons, its sound. One player sounds at a time. */
class Player {
  static PLAY = "M7 4.5v15L20 12z";
  static PAUSE = "M6 5h4.5v14H6zM13.5 5H18v14h-4.5z";

  constructor(root, data) {
    this.root = root;
    root.player = this;
    this.notes = new Notes(data.notes);
    this.passages = data.passages;
    // The number of the passage in which a note begins, or -1.
    this.passageOf = data.notes.map((note) => data.passages.findIndex((p) => p.start <= note.onset && note.onset < p.end));
    this.duration = this.notes.end;
    this.at = 0;
    this.playing = false;
    this.speed = 1;
    this.level = 0.8;
    this.muted = false;
    this.following = true;
    this.loop = null;
    this.loopStart = null;
    this.turn = 0;
    root.append(document.getElementById("player").content.cloneNode(true));
    this.part = (name) => root.querySelector(name);
    this.score = new Score(this, this.part(".pages"), data.pages);
    this.part(".score").hidden = !data.pages.length;
    this.roll = new Roll(this, this.part("canvas"));
    this.engine = data.audio ? new Recording(this, data.audio) : new Synthesis(this);
    this.listen();
    this.legend();
    this.ramp();
    this.lengthen(this.duration);
    this.setLevel(this.level);
    this.refresh();
  }

  listen() {
    const seek = this.part(".seek"), loudness = this.part(".loudness"), speed = this.part(".speed");
    for (const value of SPEEDS) speed.add(new Option(`${value}×`, value, value === 1, value === 1));
    seek.addEventListener("input", () => this.seek(Number(seek.value)));
    loudness.addEventListener("input", () => this.setLevel(Number(loudness.value)));
    speed.addEventListener("change", () => this.setSpeed(Number(speed.value)));
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button) this.does(button.dataset.do);
    });
  }

  does(what) {
    const actions = {
      toggle: () => this.toggle(),
      start: () => this.seek(0),
      mute: () => this.setLevel(this.level, !this.muted),
      loop: () => this.stepLoop(),
      follow: () => this.setFollow(!this.following),
      smaller: () => this.score.scale(-1),
      larger: () => this.score.scale(1),
      out: () => this.roll.scale(1.5),
      in: () => this.roll.scale(1 / 1.5),
      help: () => document.getElementById("help").showModal(),
    };
    actions[what]();
  }

  legend() {
    const list = this.part(".passages ol");
    this.part(".passages").hidden = !this.passages.length;
    this.current = -1;
    this.passages.forEach((passage, i) => {
      const item = document.createElement("li"), button = document.createElement("button"), badge = document.createElement("b");
      const text = document.createElement("span"), detail = document.createElement("small");
      button.type = "button";
      badge.textContent = i + 1;
      badge.style.background = `var(--copy-${i % PASSAGE_COLOURS})`;
      text.textContent = passage.from === null ? passage.source : `${clock(passage.from)} of ${passage.source}`;
      const by = passage.transposition, shift = by ? `, ${Math.abs(by)} semitone${Math.abs(by) === 1 ? "" : "s"} ${by > 0 ? "higher" : "lower"}` : "";
      detail.textContent = ` ${clock(passage.start)}–${clock(passage.end)}${shift}`;
      text.append(detail);
      button.append(badge, text);
      button.title = "Go to this passage";
      button.addEventListener("click", () => this.seek(passage.start));
      item.append(button);
      list.append(item);
    });
  }

  ramp() {
    const stops = [20, 55, 90, 127].map((velocity) => this.roll.colour(velocity, -1));
    this.part(".ramp i").style.background = `linear-gradient(to right, ${stops})`;
  }

  lengthen(seconds) {
    if (Number.isFinite(seconds)) this.duration = Math.max(this.notes.end, seconds);
    this.part(".seek").max = this.duration;
    this.part(".length").textContent = clock(this.duration);
  }

  /* Audible position in seconds. */
  get time() {
    return this.at;
  }

  /* The square makes the slider even in perceived loudness. */
  get gain() {
    return this.muted ? 0 : this.level ** 2;
  }

  soundingAt(t) {
    return this.notes.at(t);
  }

  /* Ids of the marked elements of the score. */
  get markedIds() {
    return [...this.score.marked].sort();
  }

  /* Numbers of the marked notes of the piano roll. */
  get markedNotes() {
    return this.roll.marked;
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    if (this.playing) return;
    Player.sounding?.pause();
    Player.sounding = this;
    if (this.at >= this.duration - 0.01) this.at = 0;
    this.playing = true;
    this.part(".message").textContent = "";
    this.button();
    this.restart(0);
    this.timer = setInterval(() => this.tick(), 200);
    this.frame();
  }

  /* Starts the sound here, after a short delay in which another seek may follow (a drag is many seeks). */
  restart(delay = 60) {
    this.engine.stop();
    clearTimeout(this.pending);
    const turn = ++this.turn;
    const begin = async () => {
      try {
        await this.engine.start(this.at, () => turn === this.turn);
      } catch (error) {
        if (turn !== this.turn) return;
        this.pause();
        this.part(".message").textContent = `No sound: ${error.message}`;
      }
    };
    if (delay) this.pending = setTimeout(begin, delay);
    else begin();
  }

  pause() {
    if (!this.playing) return;
    if (this.engine.running) this.at = clamp(this.engine.position(), 0, this.duration);
    this.engine.stop();
    this.halt();
  }

  finish() {
    this.engine.rest();
    this.at = this.duration;
    this.halt();
  }

  halt() {
    this.turn++;
    clearTimeout(this.pending);
    clearInterval(this.timer);
    this.playing = false;
    this.button();
    this.refresh();
    if (this.visible === false) this.show(false);
  }

  /* Scheduling uses a timer: animation frames stop in a hidden tab. */
  tick() {
    if (!this.engine.running) return;
    this.engine.tick();
    if (this.engine.position() >= this.duration) this.finish();
  }

  frame() {
    if (!this.playing) return;
    if (this.engine.running) {
      this.at = clamp(this.engine.position(), 0, this.duration);
      if (this.at >= this.duration) return this.finish();
    }
    this.refresh();
    requestAnimationFrame(() => this.frame());
  }

  /* `reveal`: scroll the place into view, except during a drag, when the view must not move. */
  seek(t, reveal = true) {
    this.at = clamp(Number(t) || 0, 0, this.duration);
    if (this.playing) this.restart();
    this.refresh(reveal);
  }

  setSpeed(speed) {
    if (this.engine.running) this.at = clamp(this.engine.position(), 0, this.duration);
    this.speed = clamp(speed, 0.25, 2);
    this.part(".speed").value = SPEEDS.includes(this.speed) ? this.speed : "";
    if (this.playing) this.restart();
    this.say(`Speed ${this.speed}`);
  }

  stepSpeed(way) {
    const nearest = way > 0 ? SPEEDS.find((one) => one > this.speed) : SPEEDS.findLast((one) => one < this.speed);
    if (nearest) this.setSpeed(nearest);
  }

  setLevel(level, muted = false) {
    this.level = clamp(level, 0, 1);
    this.muted = muted;
    this.part(".loudness").value = this.level;
    this.part(".loudness").setAttribute("aria-valuetext", `${Math.round(100 * this.level)} percent`);
    this.part("[data-do=mute]").setAttribute("aria-pressed", muted);
    this.part(".waves").style.display = this.gain ? "" : "none";
    this.engine.volume();
  }

  setFollow(following) {
    this.following = following;
    this.part("[data-do=follow]").setAttribute("aria-pressed", following);
    this.say(following ? "Following" : "Not following");
    this.refresh(following);
  }

  stepLoop() {
    const here = this.at;
    if (this.loop) this.setLoop(0, 0);
    else if (this.loopStart === null || here <= this.loopStart) this.setLoop(here, here);
    else this.setLoop(this.loopStart, here);
  }

  /* A loop shorter than a fifth of a second is only a start; a loop from 0 to 0 is no loop. */
  setLoop(start, end) {
    start = clamp(start, 0, this.duration);
    end = clamp(end, 0, this.duration);
    this.loop = end - start >= 0.2 ? { start, end } : null;
    this.loopStart = this.loop || (start === 0 && end === 0) ? null : start;
    const button = this.part("[data-do=loop]");
    button.setAttribute("aria-pressed", this.loop !== null);
    button.textContent = this.loop ? `Loop ${clock(start)}–${clock(end)}` : this.loopStart === null ? "Loop" : `Loop ${clock(start)}–…`;
    this.say(this.loop ? `Loop from ${clock(start)} to ${clock(end)}` : this.loopStart === null ? "Loop off" : `Loop from ${clock(start)}; press again at its end`);
    if (this.playing) {
      if (this.engine.running) this.at = clamp(this.engine.position(), 0, this.duration);
      if (this.loop && this.at >= end) this.at = start;
      this.restart();
    }
    this.refresh();
  }

  say(text) {
    this.part(".said").textContent = text;
  }

  button() {
    const button = this.part(".play"), label = this.playing ? "Pause" : "Play";
    button.setAttribute("aria-label", label);
    button.title = `${label} (Space)`;
    button.querySelector("path").setAttribute("d", this.playing ? Player.PAUSE : Player.PLAY);
  }

  /* Updates everything that shows the time. */
  refresh(reveal = this.playing) {
    const seek = this.part(".seek"), now = this.part(".now"), text = clock(this.at);
    seek.value = this.at;
    if (now.textContent !== text || !seek.hasAttribute("aria-valuetext")) {
      now.textContent = text;
      seek.setAttribute("aria-valuetext", `${text} of ${clock(this.duration)}`);
    }
    const numbers = this.soundingAt(this.at);
    this.roll.mark(numbers);
    this.score.mark(numbers);
    if (this.following && reveal) {
      this.roll.follow(this.at);
      this.score.follow(numbers);
    }
    this.roll.draw();
    this.showPassage();
  }

  /* Marks the sounding passage in the legend. */
  showPassage() {
    const current = this.passages.findIndex((p) => p.start <= this.at && this.at < p.end);
    if (current === this.current) return;
    this.current = current;
    const list = this.part(".passages ol");
    [...list.children].forEach((item, i) => item.firstChild.setAttribute("aria-current", i === current));
    if (current >= 0) list.scrollTop = list.children[current].offsetTop - list.offsetTop - 3;
  }

  /* Draws the views if the player is in or near the visible part of the page. */
  show(visible) {
    this.visible = visible;
    if (!visible && this.playing) return;
    for (const view of [this.score, this.roll]) visible ? view.show() : view.hide();
    if (visible) this.refresh(true);
  }

  /* Returns true if the key has a function. */
  key(event) {
    const seek = event.target.closest(".seek") !== null, scrolls = event.target.closest(".pages") !== null;
    const far = event.shiftKey ? 10 : 2;
    const keys = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.at - far),
      ArrowRight: () => this.seek(this.at + far),
      ArrowUp: () => (seek ? this.seek(this.at + far) : this.setLevel(this.level + 0.05)),
      ArrowDown: () => (seek ? this.seek(this.at - far) : this.setLevel(this.level - 0.05)),
      Home: () => this.seek(0),
      End: () => this.seek(this.duration),
      "[": () => this.stepSpeed(-1),
      "]": () => this.stepSpeed(1),
      "+": () => this.does("in"),
      "=": () => this.does("in"),
      "-": () => this.does("out"),
      m: () => this.does("mute"),
      l: () => this.does("loop"),
      f: () => this.does("follow"),
      "?": () => this.does("help"),
    };
    // The score scrolls up and down, also when it has the focus.
    if (scrolls && ["ArrowUp", "ArrowDown"].includes(event.key)) return false;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    action?.();
    return action !== undefined;
  }
}
