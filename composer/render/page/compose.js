/* Classes of events and back: composer.data.vocabulary in JavaScript. */
class Vocabulary {
  static GRID = 12; // places in the bar per beat
  static PLACES = 96;
  static TOLERANCE = 0.005; // beats

  constructor(data) {
    Object.assign(this, data);
    this.inBeats = data.time_unit === "beats";
  }

  /* A pitch outside the range is moved by octaves. */
  note(pitch) {
    while (pitch < this.pitch_low) pitch += 12;
    while (pitch > this.pitch_high) pitch -= 12;
    return clamp(pitch - this.pitch_low, 0, this.pitch_high - this.pitch_low);
  }

  velocity(velocity) {
    if (!this.velocity_values.length || !velocity) return velocity;
    return 1 + Math.floor(((velocity - 1) * (this.velocity_values.length - 1)) / 127);
  }

  velocityOf(k) {
    return this.velocity_values.length ? this.velocity_values[k] : k;
  }

  /* The page's times are rounded: a millionth of a second below an edge still counts as on it. */
  time(value) {
    if (value <= 2e-6) return 0;
    let k = 0;
    while (k < this.time_edges.length && this.time_edges[k] <= value + 2e-6) k++;
    return Math.max(Math.min(1, this.time_edges.length), k);
  }

  /* The class of the place in its bar of a moment, in beats from the start of the piece. */
  static place(metre, beats) {
    return clamp(Math.floor(metre.offset(beats + Vocabulary.TOLERANCE) * Vocabulary.GRID), 0, Vocabulary.PLACES - 1);
  }
}

/* Composes with the page's network. */
class Composing {
  static CHUNK = 20; // events between two looks at the page

  constructor(data) {
    this.data = data;
    this.vocabulary = new Vocabulary(data.vocabulary);
  }

  async network() {
    return (this.loaded ??= await Network.load(this.data));
  }

  /* Returns the note-ons and note-offs up to `until`, in the order of the training: at one moment the releases of
     sounding notes, then the strikes, then the releases of notes without length; each by pitch. */
  static events(notes, until) {
    const events = [];
    for (const note of notes) {
      const end = note.onset + note.duration, none = note.duration < 1e-6;
      if (note.onset <= until) events.push({ time: note.onset, rank: 1, pitch: note.pitch, velocity: note.velocity });
      if (end <= until) events.push({ time: end, rank: none ? 2 : 0, pitch: note.pitch, velocity: 0 });
    }
    events.sort((a, b) => a.time - b.time);
    // Times of one moment may differ by rounding.
    let moment = -Infinity;
    for (const event of events) {
      if (event.time - moment > 2e-6) moment = event.time;
      event.time = moment;
    }
    return events.sort((a, b) => a.time - b.time || a.rank - b.rank || a.pitch - b.pitch);
  }

  /* Returns the classes of events, for each the place in the bar too. */
  classes(events, metre) {
    const { vocabulary } = this;
    return events.map((event, i) => {
      const before = i ? events[i - 1].time : 0, place = metre.beats(event.time);
      const wait = vocabulary.inBeats ? place - metre.beats(before) : event.time - before;
      return [vocabulary.note(event.pitch), vocabulary.velocity(event.velocity), vocabulary.time(wait), Vocabulary.place(metre, place)];
    });
  }

  /* Returns the piece {notes, metre, from} that goes on from `at` (seconds): the notes that began until then, and
     `events` composed events. From a place before the first note a new piece begins after the run's own primer. */
  async goOn({ notes, metre }, at, { temperature, topP, events, seed }, progress = () => {}) {
    const network = await this.network(), { data, vocabulary } = this, context = new Context(network);
    const heard = Composing.events(notes, at + 1e-6), random = sampling.random(seed);
    let primer = this.classes(heard, metre);
    if (!primer.length) {
      primer = data.primer;
      metre = new Metre(data.metre);
    }
    for (const event of primer.slice(-(data.window || 1024))) context.read(event);
    const from = heard.at(-1)?.time ?? 0, open = new Map(), made = [];
    for (const note of notes) {
      if (!heard.length || note.onset > from + 1e-6) continue;
      const kept = { ...note };
      made.push(kept);
      if (note.onset + note.duration > from + 1e-6) open.set(note.pitch, kept);
    }
    let now = from;
    const close = (pitch, time) => {
      const note = open.get(pitch);
      if (!note) return;
      note.duration = Math.max(0.01, time - note.onset);
      open.delete(pitch);
    };
    for (let i = 0; i < events; i++) {
      if (i % Composing.CHUNK === 0) {
        progress(i / events);
        await new Promise((go) => setTimeout(go));
      }
      const event = [0, 0, 0, 0];
      for (let k = 0; k < 3; k++) {
        const logits = sampling.unsmoothed(network.logits(context.hidden, k, event), data.smoothing, data.least);
        event[k] = sampling.draw(sampling.nucleus(sampling.softmax(logits, temperature), topP), random());
      }
      const wait = vocabulary.time_values[event[2]];
      now = vocabulary.inBeats ? metre.seconds(metre.beats(now) + wait) : now + wait;
      event[3] = Vocabulary.place(metre, metre.beats(now));
      // Notes that the network holds longer than any of the training music are released.
      for (const [pitch, note] of open) if (now - note.onset > data.longest) close(pitch, note.onset + data.longest);
      const pitch = event[0] + vocabulary.pitch_low, velocity = vocabulary.velocityOf(event[1]);
      close(pitch, now);
      if (velocity) {
        const note = { ids: [], pitch, velocity, onset: now, duration: 0, staff: 1 };
        open.set(pitch, note);
        made.push(note);
      }
      context.read(event);
    }
    for (const pitch of [...open.keys()]) close(pitch, Math.max(now, open.get(pitch).onset + 0.2));
    return { notes: made.sort(Midi.order), metre, from };
  }
}
