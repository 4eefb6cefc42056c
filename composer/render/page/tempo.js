/* The beats and bars of a piece, through its tempo map; places are in beats (quarter notes) from the start. */
class Metre {
  /* `tempos`: [seconds, beats, seconds per beat] of each stretch of one tempo; `bars`: [place, place of a bar line, beats
     of a bar] of each time signature. Without them 120 beats a minute and bars of four, which are not drawn. */
  constructor(data) {
    const known = Boolean(data?.tempos?.length);
    // Whether tempo and bars are shown.
    this.known = known && data.drawn !== false;
    this.tempos = known ? data.tempos : [[0, 0, 0.5]];
    this.bars = data?.bars?.length ? data.bars : [[0, 0, 4]];
  }

  /* Returns the last row whose `column` is at most `value`, or the first row. */
  static row(rows, column, value) {
    let found = rows[0];
    for (const row of rows) if (row[column] <= value + 1e-9) found = row; else break;
    return found;
  }

  beats(seconds) {
    const [start, place, perBeat] = Metre.row(this.tempos, 0, seconds);
    return place + (seconds - start) / perBeat;
  }

  seconds(beats) {
    const [start, place, perBeat] = Metre.row(this.tempos, 1, beats);
    return start + (beats - place) * perBeat;
  }

  perMinute(seconds) {
    return 60 / Metre.row(this.tempos, 0, seconds)[2];
  }

  /* Returns the beats from the start of its bar to a place. */
  offset(beats) {
    const [, line, length] = Metre.row(this.bars, 0, beats);
    const offset = (((beats - line) % length) + length) % length;
    return length - offset < 1e-6 ? 0 : offset;
  }

  /* Returns the seconds of the bar lines from `start` to `end`. */
  lines(start, end) {
    const first = this.beats(start), last = this.beats(end), found = [];
    this.bars.forEach(([place, line, length], i) => {
      const until = Math.min(last, (this.bars[i + 1]?.[0] ?? Infinity) - 1e-6);
      const from = Math.max(first, place);
      for (let at = line + Math.ceil((from - line) / length - 1e-9) * length; at <= until; at += length) found.push(this.seconds(at));
    });
    return found;
  }
}
