/* A simple piano for the whole page: tones are computed once per pitch and played through filters.

   A tone is a sum of partials, a little sharper than harmonic as on stiff strings. Each comes twice, from strings that
   are slightly out of tune: one part decays fast, the other slowly. Higher partials decay faster. A short noise is the hammer.
   Velocity opens a filter, so that loud notes are also brighter. */
class Sound {
  static shared() {
    return (Sound.one ??= new Sound(new AudioContext()));
  }

  constructor(context) {
    this.context = context;
    this.tones = new Map();
    this.voices = new Set();
    this.input = new GainNode(context);
    this.master = new GainNode(context, { gain: 0 });
    this.output = new DynamicsCompressorNode(context, { threshold: -13, knee: 12, ratio: 5, attack: 0.002, release: 0.3 });
    const room = new ConvolverNode(context, { buffer: this.room() });
    const wet = new GainNode(context, { gain: 0.16 });
    this.input.connect(this.master);
    this.input.connect(room).connect(wet).connect(this.master);
    // The compressor raises soft passages; this keeps the peaks below full scale.
    const level = new GainNode(context, { gain: 0.6 });
    this.master.connect(this.output).connect(level).connect(context.destination);
    this.last = level;
  }

  /* Returns the impulse response of a small room: noise that decays within half a second. */
  room() {
    const rate = this.context.sampleRate, buffer = this.context.createBuffer(2, Math.round(rate * 0.5), rate);
    for (let channel = 0; channel < 2; channel++) {
      const noise = Sound.noise(77 + channel), data = buffer.getChannelData(channel);
      let dull = 0;
      for (let i = 0; i < data.length; i++) {
        dull += 0.35 * (noise() - dull);
        data[i] = dull * Math.exp((-13 * i) / data.length) * Math.min(1, i / (0.006 * rate));
      }
    }
    return buffer;
  }

  /* Returns reproducible noise from -1 to 1. */
  static noise(seed) {
    let state = seed;
    return () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2147483648) - 1;
  }

  tone(pitch) {
    let buffer = this.tones.get(pitch);
    if (buffer) return buffer;
    // Low tones have no high partials, and need half the samples.
    const rate = pitch < 64 ? this.context.sampleRate / 2 : this.context.sampleRate;
    const fundamental = 440 * 2 ** ((pitch - 69) / 12);
    const decay = clamp(1.25 * 2 ** ((60 - pitch) / 17), 0.12, 4); // of the fundamental, to 1/e
    const seconds = clamp(8 * decay, 1, 8);
    buffer = this.context.createBuffer(1, Math.ceil(seconds * rate), rate);
    const data = buffer.getChannelData(0);
    const fall = clamp(0.7 + (pitch - 36) / 120, 0.6, 1.2);
    const stiffness = Math.max(1e-4, 3e-4 * 2 ** ((pitch - 60) / 8));
    for (let n = 1; n <= 24; n++) {
      const frequency = fundamental * n * Math.sqrt((1 + stiffness * n * n) / (1 + stiffness));
      if (frequency > Math.min(9000, 0.42 * rate)) break;
      // A soft hammer at an eighth of the string; the sound board radiates little of the lowest partials.
      const struck = (0.25 + Math.abs(Math.sin((Math.PI * n) / 8.3))) * n ** -fall * Math.exp(-frequency / 1400);
      const amplitude = (struck * frequency) / (frequency + 110);
      const time = decay / (1 + 0.32 * (n - 1));
      this.ring(data, rate, frequency, 0.78 * amplitude, time * 0.55);
      this.ring(data, rate, frequency * 1.00035, 0.22 * amplitude, time * 1.7);
    }
    const noise = Sound.noise(pitch + 1);
    let dull = 0;
    for (let i = 0; i < 0.05 * rate; i++) {
      dull += 0.25 * (noise() - dull);
      data[i] += 0.35 * dull * Math.exp(-i / (0.009 * rate));
    }
    // Equal loudness over the first fifth of a second; high tones slightly softer.
    let power = 0;
    const part = Math.round(0.2 * rate);
    for (let i = 0; i < part; i++) power += data[i] * data[i];
    const scale = (0.5 * 2 ** ((60 - pitch) / 80)) / Math.sqrt(power / part);
    const rise = 0.0025 * rate, end = 0.1 * rate;
    for (let i = 0; i < data.length; i++) data[i] *= scale * Math.min(1, i / rise, (data.length - i) / end);
    this.tones.set(pitch, buffer);
    return buffer;
  }

  /* Adds a sine that decays to 1/e in `time`, by rotating a phasor by one step per sample. */
  ring(data, rate, frequency, amplitude, time) {
    const angle = (2 * Math.PI * frequency) / rate, shrink = Math.exp(-1 / (time * rate));
    const cosine = shrink * Math.cos(angle), sine = shrink * Math.sin(angle);
    const length = Math.min(data.length, Math.ceil(7.5 * time * rate)); // -65 dB
    let x = amplitude, y = 0;
    for (let i = 0; i < length; i++) {
      data[i] += y;
      const turned = x * cosine - y * sine;
      y = x * sine + y * cosine;
      x = turned;
    }
  }

  /* Plays a note that began `age` ago, from the context's time `when`, for the remaining `left`. */
  voice(note, when, age, left) {
    const buffer = this.tone(note.pitch);
    if (age >= buffer.duration) return;
    const context = this.context, loud = note.velocity / 127;
    const fundamental = 440 * 2 ** ((note.pitch - 69) / 12);
    const bright = clamp(250 + fundamental * (1 + 8 * loud ** 1.5) + 2200 * loud ** 2, 200, 0.45 * context.sampleRate);
    const peak = 0.02 + 1.1 * loud ** 1.7;
    const source = new AudioBufferSourceNode(context, { buffer });
    const filter = new BiquadFilterNode(context, { type: "lowpass", Q: -2, frequency: bright });
    const gain = new GainNode(context, { gain: 0 });
    const pan = new StereoPannerNode(context, { pan: clamp((note.pitch - 64.5) / 150, -0.285, 0.285) });
    // Low notes left: 4 dB at the ends of the keyboard, as of sampled pianos.
    source.connect(filter).connect(gain).connect(pan).connect(this.input);
    // A note begun in its middle fades in.
    const attack = age > 0.001 ? 0.012 : 0.001;
    const end = when + Math.max(left, 0.03), damper = 0.045 + 0.05 * clamp((80 - note.pitch) / 50, 0, 1);
    gain.gain.setValueAtTime(0, when);
    gain.gain.linearRampToValueAtTime(peak, when + attack);
    gain.gain.setTargetAtTime(0, end, damper);
    source.start(when, age);
    source.stop(end + 9 * damper);
    this.voices.add(source);
    source.onended = () => {
      this.voices.delete(source);
      pan.disconnect();
    };
  }

  /* Ends all notes without a click. */
  silence() {
    const now = this.context.currentTime;
    this.master.gain.cancelScheduledValues(now);
    this.master.gain.setTargetAtTime(0, now, 0.008);
    for (const source of this.voices) source.stop(now + 0.06);
    this.voices.clear();
  }

  /* Opens the output from `when` on, at least 0.07 after a silence. */
  open(volume, when) {
    this.master.gain.setTargetAtTime(volume, when - 0.03, 0.004);
  }

  volume(value) {
    const now = this.context.currentTime;
    this.master.gain.cancelScheduledValues(now);
    this.master.gain.setTargetAtTime(value, now, 0.02);
  }
}
