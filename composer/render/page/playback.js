/* Plays the notes of a player by the audio clock: a timer only schedules the notes of about the next second. */
class Synthesis {
  constructor(player) {
    this.player = player;
    this.running = false;
  }

  async start(at, current) {
    const sound = (this.sound = Sound.shared());
    if (sound.context.state !== "running") {
      // Without a sound card some browsers never resume.
      const late = new Promise((_, fail) => setTimeout(() => fail(new Error("the browser has not started it")), 4000));
      await Promise.race([sound.context.resume(), late]);
    }
    if (!current()) return;
    this.warm(at, at + 0.6);
    this.begin(sound, at, sound.context.currentTime + 0.1);
    sound.open(this.player.gain, this.anchors[0].time);
    this.running = true;
    this.tick(0.5);
    this.prepare();
  }

  /* Computes the tones of later notes, one at a time, so that the page stays responsive. */
  prepare() {
    const { list } = this.player.notes;
    const missing = list.findIndex((note, i) => i >= this.next && !this.sound.tones.has(note.pitch));
    if (!this.running || missing < 0) return;
    this.sound.tone(list[missing].pitch);
    setTimeout(() => this.prepare(), 30);
  }

  stop() {
    if (this.running) this.sound.silence();
    this.running = false;
  }

  /* At the end of the piece: sounding notes decay naturally. */
  rest() {
    this.running = false;
  }

  warm(start, end) {
    for (const i of this.player.notes.within(start, end)) this.sound.tone(this.player.notes.list[i].pitch);
  }

  begin(sound, at, time) {
    this.sound = sound;
    // From the time of each anchor on, the position grows from the anchor's; a loop adds one anchor per repetition.
    this.anchors = [];
    this.segment(at, time);
  }

  segment(position, time) {
    const { notes, speed, loop } = this.player;
    const end = loop && position < loop.end ? loop.end : Infinity;
    this.anchors.push({ time, position, end });
    for (const i of notes.at(position)) {
      const note = notes.list[i];
      const left = Math.min(note.onset + note.duration, end) - position;
      this.sound.voice(note, time, (position - note.onset) / speed, left / speed);
    }
    this.next = notes.after(position);
  }

  /* Schedules the notes that begin before the context's time `horizon`. */
  schedule(horizon) {
    const { notes, speed, loop } = this.player;
    for (;;) {
      const anchor = this.anchors.at(-1);
      const until = anchor.position + (horizon - anchor.time) * speed;
      for (; this.next < notes.list.length; this.next++) {
        const note = notes.list[this.next];
        if (note.onset >= Math.min(until, anchor.end)) break;
        const when = anchor.time + (note.onset - anchor.position) / speed;
        // With the sustain pedal a note sounds longer than its key is down.
        const left = Math.min(note.onset + (note.sounding ?? note.duration), anchor.end) - note.onset;
        // After a timer that the browser delayed, late notes begin at their present position.
        const late = Math.max(0, this.sound.context.currentTime - when);
        if (note.duration > 0 && late < left / speed) this.sound.voice(note, when + late, late, left / speed - late);
      }
      if (until < anchor.end) return;
      this.segment(loop.start, anchor.time + (anchor.end - anchor.position) / speed);
    }
  }

  tick(ahead = 1.5) {
    if (!this.running) return;
    this.schedule(this.sound.context.currentTime + ahead);
    while (this.anchors.length > 1 && this.anchors[1].time < this.sound.context.currentTime - 1) this.anchors.shift();
  }

  /* Returns the position that is audible now: the sound card has a latency. */
  position() {
    const context = this.sound.context;
    const now = context.currentTime - (context.outputLatency || context.baseLatency || 0);
    const anchor = this.anchors.findLast((one) => one.time <= now) ?? this.anchors[0];
    return Math.min(anchor.position + Math.max(0, now - anchor.time) * this.player.speed, anchor.end);
  }

  volume() {
    if (this.running) this.sound.volume(this.player.gain);
  }

  /* Returns a WAV file of the whole piece at its own speed: -16 LUFS, or as loud as its peaks allow. */
  static async wav(player, rate = 44100) {
    const piece = { notes: player.notes, duration: player.duration, speed: 1, loop: null, gain: 1 };
    const sound = await Synthesis.render(piece, 0, player.duration + 1.5, rate);
    const channels = [sound.getChannelData(0), sound.getChannelData(1)];
    let peak = 1e-9;
    for (const data of channels) for (const one of data) peak = Math.max(peak, Math.abs(one));
    const gain = Math.min(0.89 / peak, 10 ** ((-16 - (await loudness(sound))) / 20)), frames = sound.length;
    const bytes = new Uint8Array(44 + 4 * frames), view = new DataView(bytes.buffer);
    const text = (at, name) => [...name].forEach((letter, i) => (bytes[at + i] = letter.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 4 * frames, true);
    text(8, "WAVEfmt ");
    [[16, 4], [1, 2], [2, 2], [rate, 4], [4 * rate, 4], [4, 2], [16, 2]].reduce((at, [value, size]) => {
      if (size === 4) view.setUint32(at, value, true);
      else view.setUint16(at, value, true);
      return at + size;
    }, 16);
    text(36, "data");
    view.setUint32(40, 4 * frames, true);
    for (let i = 0; i < frames; i++)
      for (let k = 0; k < 2; k++) view.setInt16(44 + 4 * i + 2 * k, Math.round(clamp(channels[k][i] * gain, -1, 1) * 32767), true);
    return bytes;
  }

  /* Renders `seconds` of the piece from `start` at the player's speed, for measurements. */
  static async render(player, start, seconds, rate = 44100) {
    const context = new OfflineAudioContext(2, Math.ceil((seconds / player.speed + 0.1) * rate), rate);
    const synthesis = new Synthesis(player), sound = new Sound(context);
    synthesis.begin(sound, start, 0.1);
    sound.open(player.gain, 0.1);
    const length = seconds / player.speed, step = 4;
    // A browser goes through all the voices that exist for every block: with a minute of them that is slow.
    if (!context.suspend || length < 2 * step) synthesis.schedule(0.1 + length);
    else {
      synthesis.schedule(0.1 + 2 * step);
      for (let at = step; at < length; at += step) {
        context.suspend(at).then(() => {
          synthesis.schedule(0.1 + Math.min(length, at + 2 * step));
          context.resume();
        });
      }
    }
    return context.startRendering();
  }
}

/* Returns the loudness of a sound in LUFS (ITU-R BS.1770-4): gated, of both channels, after the K-weighting, whose two
   filters are a shelf of 4 dB above 1.7 kHz and a high pass at 38 Hz. */
async function loudness(sound) {
  const context = new OfflineAudioContext(2, sound.length, sound.sampleRate);
  const shelf = new BiquadFilterNode(context, { type: "highshelf", frequency: 1682, gain: 4 });
  const pass = new BiquadFilterNode(context, { type: "highpass", frequency: 38.1, Q: 20 * Math.log10(0.5003) });
  const source = new AudioBufferSourceNode(context, { buffer: sound });
  source.connect(shelf).connect(pass).connect(context.destination);
  source.start();
  const weighted = await context.startRendering(), block = Math.round(0.4 * sound.sampleRate), step = block / 4, powers = [];
  const channels = [weighted.getChannelData(0), weighted.getChannelData(1)];
  for (let at = 0; at + block <= weighted.length; at += step) {
    let power = 0;
    for (const data of channels) for (let i = Math.round(at), end = i + block; i < end; i++) power += data[i] * data[i];
    powers.push(power / block);
  }
  const level = (power) => -0.691 + 10 * Math.log10(power), mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const audible = powers.filter((power) => level(power) > -70);
  if (!audible.length) return -70;
  const gate = level(mean(audible)) - 10;
  return level(mean(audible.filter((power) => level(power) > gate)));
}

/* Plays a sound file embedded in the page. */
class Recording {
  constructor(player, uri) {
    this.player = player;
    this.uri = uri;
    this.running = false;
  }

  async start(at, current) {
    if (!this.element) {
      const [kind, text] = this.uri.slice(5).split(";base64,");
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      this.element = new Audio(URL.createObjectURL(new Blob([bytes], { type: kind })));
      this.element.addEventListener("loadedmetadata", () => this.player.lengthen(this.element.duration));
      this.element.addEventListener("ended", () => this.running && this.player.finish());
    }
    if (at >= this.element.duration) return this.player.finish();
    this.element.currentTime = at;
    this.element.playbackRate = this.element.defaultPlaybackRate = this.player.speed;
    this.volume();
    await this.element.play();
    if (!current()) return;
    this.running = true;
  }

  stop() {
    this.element?.pause();
    this.running = false;
  }

  rest() {
    this.stop();
  }

  tick() {
    const loop = this.player.loop;
    if (!this.running || !loop) return;
    const over = this.element.currentTime - loop.end;
    // Farther beyond the loop than a late timer explains: a deliberate seek.
    if (over >= 0 && over < 2) this.element.currentTime = loop.start;
  }

  position() {
    return this.element.currentTime;
  }

  volume() {
    if (!this.element) return;
    this.element.volume = Math.sqrt(this.player.gain);
    this.element.muted = this.player.gain === 0;
  }
}
