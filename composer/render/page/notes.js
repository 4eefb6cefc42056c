/* The notes by onset, with searches by time. All times are in seconds. */
class Notes {
  constructor(list) {
    this.list = list;
    // The latest end up to each note: after it, no earlier note sounds.
    this.reach = [];
    let reach = 0;
    for (const note of list) this.reach.push((reach = Math.max(reach, note.onset + note.duration)));
    this.end = reach;
  }

  /* Returns the number of the first note that begins after t. */
  after(t) {
    let low = 0, high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].onset <= t) low = middle + 1; else high = middle;
    }
    return low;
  }

  /* Returns the numbers of the notes with onset <= t < onset + duration. */
  at(t) {
    const found = [];
    for (let i = this.after(t) - 1; i >= 0 && this.reach[i] > t; i--) {
      const note = this.list[i];
      if (note.onset + note.duration > t) found.push(i);
    }
    return found.reverse();
  }

  /* Returns the numbers of the notes that sound at some time from `start` to `end`. */
  within(start, end) {
    const found = [];
    const last = this.after(end);
    for (let i = last - 1; i >= 0 && this.reach[i] > start; i--) {
      const note = this.list[i];
      if (note.onset + note.duration > start) found.push(i);
    }
    return found.reverse();
  }
}
