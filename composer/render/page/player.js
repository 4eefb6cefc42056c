/* One piece: its views, its buttons, its sound. One player sounds at a time.

   Longer than the other files: each button is a method of the player. */
class Player {
  static PLAY = "M7 4.5v15L20 12z";
  static PAUSE = "M6 5h4.5v14H6zM13.5 5H18v14h-4.5z";

  constructor(root, data) {
    this.root = root;
    root.player = this;
    this.title = data.title;
    // Versions of the piece: what the page holds, files that were opened, and continuations.
    this.versions = [data, ...data.others];
    this.names = false;
    this.at = 0;
    this.set(data);
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
    this.part(".pages").setAttribute("aria-label", `Score of ${this.title}; click a note to go there`);
    this.score = new Score(this, this.part(".pages"));
    this.roll = new Roll(this, this.part(".roll canvas"));
    this.keyboard = new Keyboard(this, this.part(".keyboard"));
    this.synthesis = new Synthesis(this);
    this.recording = data.audio ? new Recording(this, data.audio) : null;
    this.engine = this.recording ?? this.synthesis;
    this.listen();
    this.ramp();
    this.setLevel(this.level);
    this.goOnPanel();
    this.show(false);
    this.setVersion(0);
  }

  /* Takes the notes, the passages and the metre of a version. */
  set(version) {
    this.version = version;
    this.notes = new Notes(version.notes);
    this.passages = version.passages ?? [];
    this.metre = new Metre(version.metre);
    this.from = version.from;
    // The number of the passage in which a note begins, or -1.
    this.passageOf = version.notes.map((note) => this.passages.findIndex((p) => p.start <= note.onset && note.onset < p.end));
    this.duration = this.notes.end;
  }

  /* Shows and plays another version, at the same place. */
  setVersion(number) {
    const playing = this.playing, version = this.versions[number];
    if (playing) this.pause();
    this.set(version);
    this.engine = (version.audio && this.recording) || this.synthesis;
    if (this.loop && this.loop.end > this.duration) this.loop = null;
    this.at = Math.min(this.at, this.duration);
    this.part(".score").hidden = !version.pages?.length;
    this.score.load(version.pages ?? [], version.narrow ?? "");
    this.roll.load();
    this.keyboard.load();
    this.legend();
    this.speeds();
    this.switches();
    this.downloads();
    this.lengthen(this.duration);
    this.engine.volume();
    this.refresh(true);
    if (playing) this.play();
  }

  /* Adds a version and shows it. */
  add(version) {
    if (this.playing) this.pause();
    this.versions.push(version);
    this.setVersion(this.versions.length - 1);
  }

  switches() {
    const box = this.part(".versions"), buttons = this.versions.map((version, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = version.name;
      button.setAttribute("aria-pressed", version === this.version);
      button.addEventListener("click", () => {
        this.setVersion(i);
        this.part(".versions").children[i].focus();
      });
      return button;
    });
    box.replaceChildren(...buttons);
    box.hidden = buttons.length < 2;
  }

  /* Tempo as a multiple, and in beats a minute where the piece says it. */
  speeds() {
    const menu = this.part(".speed"), own = this.metre.known ? this.metre.perMinute(this.at) : null;
    menu.replaceChildren(...SPEEDS.map((value) => new Option(own ? `${value}× · ${Math.round(own * value)} bpm` : `${value}×`, value)));
    menu.value = this.speed;
  }

  /* Shows the downloads that this version has. */
  downloads() {
    const files = this.version.files ?? {};
    for (const button of this.root.querySelectorAll("[data-file]")) button.hidden = !["mid", "wav"].includes(button.dataset.file) && !files[button.dataset.file];
  }

  async download(kind) {
    const name = `${this.title}${this.version === this.versions[0] ? "" : `, ${this.version.name}`}`.replace(/[\\/:*?"<>|]+/g, " ").trim() || "piece";
    const types = { mid: "audio/midi", wav: "audio/wav", pdf: "application/pdf", musicxml: "application/vnd.recordare.musicxml+xml" };
    let bytes;
    if (kind === "mid") bytes = Midi.write(this.notes.list, this.metre);
    else if (kind === "wav") {
      if (this.duration > 900) return this.tell("A WAV file is made of up to 15 minutes; composer render makes longer ones.");
      this.say("Making the WAV file");
      bytes = this.engine === this.recording ? bytesOf(this.version.audio.split(";base64,")[1]) : await Synthesis.wav(this);
    } else bytes = await unpacked(this.version.files[kind]);
    save(`${name}.${kind}`, bytes, types[kind]);
    this.say(`Saved ${name}.${kind}`);
    this.closeMenu();
  }

  /* Closes the menu of downloads; the focus goes back to its head. */
  closeMenu() {
    const menu = this.part(".menu");
    if (!menu.open) return;
    menu.open = false;
    menu.firstElementChild.focus();
  }

  /* Shows and plays a MIDI file of the listener's. */
  async open(file) {
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      this.add({ name: file.name, ...Midi.read(bytes) });
      this.seek(0);
      this.tell("");
      this.say(`Opened ${file.name}: ${this.notes.list.length} notes, ${clock(this.duration)}`);
    } catch (error) {
      this.tell(`${file.name} cannot be opened: ${error.message}.`);
    }
  }

  /* The panel that composes, where the page holds a network. */
  goOnPanel() {
    const panel = this.part(".compose"), { composing } = Player;
    panel.hidden = !composing;
    if (!composing) return;
    for (const [name, value] of Object.entries({ temperature: composing.data.temperature, top_p: composing.data.top_p })) {
      const input = this.part(`[name=${name}]`), output = input.nextElementSibling;
      const show = () => (output.textContent = Number(input.value).toFixed(2));
      input.addEventListener("input", show);
      input.value = value;
      show();
    }
  }

  async goOn(at) {
    if (this.busy) return;
    this.busy = true;
    const value = (name) => Number(this.part(`[name=${name}]`).value), began = performance.now();
    const settings = { temperature: value("temperature"), topP: value("top_p"), events: value("events") };
    const buttons = this.root.querySelectorAll(".compose button");
    for (const button of buttons) button.disabled = true;
    try {
      this.number = (this.number ?? 0) + 1;
      const done = (share) => (this.part(".progress").textContent = `composing, ${Math.round(100 * share)} %`);
      const piece = await Player.composing.goOn({ notes: this.notes.list, metre: this.metre }, at, { ...settings, seed: this.number }, done);
      const base = this.version, made = piece.notes.filter((note) => !note.ids.length && note.onset >= piece.from).length;
      const kept = piece.from > 0 ? { pages: base.pages, narrow: base.narrow, passages: base.passages?.filter((p) => p.end <= piece.from) } : {};
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      this.add({ ...kept, name: `Composed ${this.number}`, notes: piece.notes, from: piece.from, metre: { tempos: piece.metre.tempos, bars: piece.metre.bars, drawn: piece.metre.known } });
      this.seek(Math.max(0, piece.from - 2));
      this.part(".progress").textContent = `${made} notes from ${clock(piece.from)} on, composed in ${seconds} s`;
      this.play();
    } catch (error) {
      this.part(".progress").textContent = "";
      this.tell(`It could not compose: ${error.message}`);
    } finally {
      this.busy = false;
      for (const button of buttons) button.disabled = false;
    }
  }

  tell(text) {
    this.part(".message").textContent = text;
  }

  /* Sounds a pitch for a moment. */
  async sound(pitch) {
    const sound = Sound.shared();
    if (sound.context.state !== "running") await sound.context.resume();
    const now = sound.context.currentTime + 0.05;
    if (!this.playing) sound.open(this.gain, now);
    sound.voice({ pitch, velocity: 80 }, now, 0, 0.7);
  }

  listen() {
    const seek = this.part(".seek"), loudness = this.part(".loudness"), speed = this.part(".speed");
    seek.addEventListener("input", () => this.seek(Number(seek.value)));
    loudness.addEventListener("input", () => this.setLevel(Number(loudness.value)));
    speed.addEventListener("change", () => this.setSpeed(Number(speed.value)));
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]"), file = event.target.closest("button[data-file]");
      if (button) this.does(button.dataset.do);
      if (file) this.download(file.dataset.file);
    });
    const chosen = this.part(".file");
    chosen.addEventListener("change", () => {
      if (chosen.files[0]) this.open(chosen.files[0]);
      chosen.value = "";
    });
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files[0]) this.open(event.dataTransfer.files[0]);
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
      names: () => this.setNames(!this.names),
      open: () => this.part(".file").click(),
      here: () => this.goOn(this.at),
      end: () => this.goOn(this.duration),
      help: () => document.getElementById("help").showModal(),
    };
    actions[what]();
  }

  legend() {
    const list = this.part(".passages ol");
    this.part(".passages").hidden = !this.passages.length;
    this.current = -1;
    list.replaceChildren();
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

  setNames(names) {
    this.names = names;
    this.part("[data-do=names]").setAttribute("aria-pressed", names);
    this.roll.draw();
    this.keyboard.draw();
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
      this.part("[data-do=here] span").textContent = text;
      seek.setAttribute("aria-valuetext", `${text} of ${clock(this.duration)}`);
    }
    const numbers = this.soundingAt(this.at);
    this.roll.mark(numbers);
    this.keyboard.mark(numbers);
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
      n: () => this.does("names"),
      "?": () => this.does("help"),
    };
    // The score scrolls up and down, also when it has the focus.
    if (scrolls && ["ArrowUp", "ArrowDown"].includes(event.key)) return false;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    action?.();
    return action !== undefined;
  }
}
