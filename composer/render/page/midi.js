/* Reading and writing MIDI files (MIDI 1.0, RP-001). */
class Midi {
  static TICKS = 480; // per beat, of files that are written

  /* Returns the notes, tempos and bars of a file's bytes. Channel 10, the drums, is left out. */
  static read(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const is = (at, name) => [...name].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
    let at = 0;
    while (at < Math.min(64, bytes.length) && !is(at, "MThd")) at++; // RIFF files begin with a header of their own
    if (bytes.length < at + 14 || !is(at, "MThd")) throw new Error("it is not a MIDI file");
    const division = view.getUint16(at + 12);
    if (!division || division & 0x8000) throw new Error("its times are not in beats");
    at += 8 + view.getUint32(at + 4);
    const events = [];
    for (let track = 0; at + 8 <= bytes.length; track++) {
      const length = view.getUint32(at + 4), end = Math.min(bytes.length, at + 8 + length);
      if (is(at, "MTrk")) Midi.track(bytes, at + 8, end, track, events);
      at += 8 + length;
    }
    events.sort((a, b) => a.tick - b.tick || a.order - b.order);
    return Midi.piece(events, division);
  }

  static track(bytes, at, end, track, events) {
    let tick = 0, status = 0;
    const number = () => {
      let value = 0;
      for (let i = 0; i < 4 && at < end; i++) {
        const byte = bytes[at++];
        value = value * 128 + (byte & 127);
        if (byte < 128) break;
      }
      return value;
    };
    while (at < end) {
      tick += number();
      if (bytes[at] >= 128) status = bytes[at++];
      const order = events.length;
      if (status === 0xff) {
        const kind = bytes[at++], length = number();
        if (kind === 0x51 && length === 3) events.push({ tick, order, tempo: (bytes[at] << 16) + (bytes[at + 1] << 8) + bytes[at + 2] });
        if (kind === 0x58 && length >= 2) events.push({ tick, order, bar: (bytes[at] * 4) / 2 ** bytes[at + 1] });
        at += length;
        if (kind === 0x2f) return;
      } else if (status === 0xf0 || status === 0xf7) at += number();
      else if (status < 128) throw new Error("a track of it is damaged");
      else {
        const kind = status >> 4, pitch = bytes[at], velocity = kind === 9 ? bytes[at + 1] : 0;
        if ((kind === 8 || kind === 9) && (status & 15) !== 9 && at + 1 < end) events.push({ tick, order, pitch: pitch & 127, velocity: velocity & 127, voice: `${track} ${status & 15} ${pitch}` });
        at += kind === 12 || kind === 13 ? 1 : 2;
      }
    }
  }

  static piece(events, division) {
    const tempos = [[0, 0, 0.5]], bars = [[0, 0, 4]], notes = [], open = new Map();
    let now = 0;
    const close = (note, time) => (note.duration = Math.max(0.01, time - note.onset));
    for (const event of events) {
      const beats = event.tick / division, [start, place, perBeat] = tempos.at(-1);
      now = start + (beats - place) * perBeat;
      if (event.tempo) {
        if (beats === place) tempos.pop();
        tempos.push([now, beats, event.tempo / 1e6]);
      } else if (event.bar) {
        if (beats === bars.at(-1)[0]) bars.pop();
        bars.push([beats, beats, event.bar]);
      } else if (event.pitch !== undefined) {
        if (open.has(event.voice)) close(open.get(event.voice), now);
        open.delete(event.voice);
        if (!event.velocity) continue;
        const note = { ids: [], pitch: event.pitch, velocity: event.velocity, onset: now, duration: 0, staff: 1 };
        open.set(event.voice, note);
        notes.push(note);
      }
    }
    for (const note of open.values()) close(note, now);
    if (!notes.length) throw new Error("it has no notes");
    return { notes: notes.sort(Midi.order), metre: { tempos, bars } };
  }

  static order(a, b) {
    return a.onset - b.onset || a.pitch - b.pitch;
  }

  /* Returns the bytes of a file with one track. */
  static write(notes, metre) {
    const tick = (seconds) => Math.max(0, Math.round(metre.beats(seconds) * Midi.TICKS)), messages = [];
    for (const [, place, perBeat] of metre.tempos) {
      const tempo = Math.round(perBeat * 1e6);
      messages.push([Math.round(place * Midi.TICKS), 0, [0xff, 0x51, 3, tempo >> 16, (tempo >> 8) & 255, tempo & 255]]);
    }
    for (const [place, , length] of metre.known ? metre.bars : []) {
      const power = [2, 3, 4, 5].find((one) => Number.isInteger((length * 2 ** one) / 4));
      if (power && (length * 2 ** power) / 4 < 256) messages.push([Math.round(place * Midi.TICKS), 0, [0xff, 0x58, 4, (length * 2 ** power) / 4, power, 24, 8]]);
    }
    for (const note of notes) {
      const on = tick(note.onset);
      messages.push([on, 2, [0x90, note.pitch, note.velocity]], [Math.max(on + 1, tick(note.onset + note.duration)), 1, [0x80, note.pitch, 0]]);
    }
    // At one tick, releases come before strikes.
    messages.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    const track = [];
    let before = 0;
    for (const [at, , message] of [...messages, [messages.at(-1)?.[0] ?? 0, 3, [0xff, 0x2f, 0]]]) {
      const wait = at - before, groups = [wait & 127];
      for (let rest = wait >> 7; rest; rest >>= 7) groups.unshift((rest & 127) | 128);
      track.push(...groups, ...message);
      before = at;
    }
    const long = (value) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
    const head = [0x4d, 0x54, 0x68, 0x64, ...long(6), 0, 0, 0, 1, Midi.TICKS >> 8, Midi.TICKS & 255, 0x4d, 0x54, 0x72, 0x6b, ...long(track.length)];
    return Uint8Array.from([...head, ...track]);
  }
}
