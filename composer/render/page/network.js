/* The run's recurrent network, in plain JavaScript: an LSTM or a GRU, with one linear layer split into three heads.

   An event is [note, velocity, time] classes, and the place in the bar where the network reads it. The weights are
   torch's, as 32-bit numbers; sums are in 64 bits. Composer.nets.recurrent has the formulas. */
class Network {
  /* `data` is that of the page; see composer.composing.page_network. */
  static async load(data) {
    const bytes = await unpacked(data.weights), all = new Float32Array(bytes.buffer, 0, bytes.length / 4);
    const tensors = {};
    let at = 0;
    for (const [name, ...shape] of data.tensors) {
      const size = shape.reduce((a, b) => a * b, 1);
      tensors[name] = all.subarray(at, at + size);
      at += size;
    }
    return new Network(data, tensors);
  }

  constructor(data, tensors) {
    Object.assign(this, { data, tensors, hidden: data.hidden, layers: data.layers, sizes: data.sizes });
    this.gates = data.kind === "lstm" ? 4 : 3;
    this.table = this.inputTable();
    this.fromInput = new Float64Array(this.gates * this.hidden);
    this.fromState = new Float64Array(this.gates * this.hidden);
    // Column of the first class of each channel in the input, and of each head in the output.
    const first = (widths) => widths.map((_, k) => widths.slice(0, k).reduce((a, b) => a + b, 0));
    this.inputs = first(data.widths);
    this.outputs = first(data.sizes);
  }

  /* Returns what each class of each channel adds to the gates of the first layer: rows of G H numbers. */
  inputTable() {
    const { tensors, data } = this, width = this.gates * this.hidden, weights = tensors.weight_ih_0;
    const classes = data.widths.reduce((a, b) => a + b, 0), table = new Float32Array(classes * width);
    const size = data.embedding, columns = size ? size * data.widths.length : classes;
    let channel = 0, left = data.widths[0];
    for (let k = 0; k < classes; k++, left--) {
      if (!left) left = data.widths[++channel];
      for (let row = 0; row < width; row++) {
        let sum = 0;
        if (size) for (let i = 0; i < size; i++) sum += weights[row * columns + channel * size + i] * tensors.embedding[k * size + i];
        else sum = weights[row * columns + k];
        table[k * width + row] = sum;
      }
    }
    return table;
  }

  /* Returns the state before any event. */
  empty() {
    const layer = () => ({ h: new Float32Array(this.hidden), c: new Float32Array(this.hidden) });
    return Array.from({ length: this.layers }, layer);
  }

  /* Writes bias + weights x into `into`; the weights are rows as long as x. */
  static product(weights, x, bias, into) {
    const width = x.length, even = width - (width % 4);
    for (let row = 0, at = 0; row < into.length; row++, at += width) {
      let a = 0, b = 0, c = 0, d = 0, k = 0;
      for (; k < even; k += 4) {
        a += weights[at + k] * x[k];
        b += weights[at + k + 1] * x[k + 1];
        c += weights[at + k + 2] * x[k + 2];
        d += weights[at + k + 3] * x[k + 3];
      }
      for (; k < width; k++) a += weights[at + k] * x[k];
      into[row] = a + b + c + d + bias[row];
    }
  }

  /* Advances a state in place by one event. */
  step(state, event) {
    const { tensors, fromInput, fromState, hidden } = this, width = fromInput.length;
    state.forEach((layer, number) => {
      const bias = tensors[`bias_ih_${number}`];
      if (number) Network.product(tensors[`weight_ih_${number}`], state[number - 1].h, bias, fromInput);
      else {
        fromInput.set(bias);
        for (const channel of this.data.channels) {
          const row = (this.inputs[channel] + event[channel]) * width;
          for (let i = 0; i < width; i++) fromInput[i] += this.table[row + i];
        }
      }
      Network.product(tensors[`weight_hh_${number}`], layer.h, tensors[`bias_hh_${number}`], fromState);
      if (this.gates === 4) this.lstm(layer, fromInput, fromState, hidden);
      else this.gru(layer, fromInput, fromState, hidden);
    });
  }

  lstm({ h, c }, x, s, n) {
    for (let k = 0; k < n; k++) {
      const input = sigmoid(x[k] + s[k]), forget = sigmoid(x[n + k] + s[n + k]);
      const cell = Math.tanh(x[2 * n + k] + s[2 * n + k]), output = sigmoid(x[3 * n + k] + s[3 * n + k]);
      c[k] = forget * c[k] + input * cell;
      h[k] = output * Math.tanh(c[k]);
    }
  }

  gru({ h }, x, s, n) {
    for (let k = 0; k < n; k++) {
      const reset = sigmoid(x[k] + s[k]), update = sigmoid(x[n + k] + s[n + k]);
      const fresh = Math.tanh(x[2 * n + k] + reset * s[2 * n + k]);
      h[k] = (1 - update) * fresh + update * h[k];
    }
  }

  /* Returns the logits of channel k of the next event after `hidden`, given the channels before k in `event`. */
  logits(hidden, k, event) {
    const { tensors, sizes } = this, first = this.outputs[k];
    const weights = tensors.linear.subarray(first * this.hidden, (first + sizes[k]) * this.hidden);
    const from = this.data.chained && k ? this.chained(hidden, k, event) : hidden, logits = new Float64Array(sizes[k]);
    Network.product(weights, from, tensors.linear_bias.subarray(first, first + sizes[k]), logits);
    return logits;
  }

  chained(hidden, k, event) {
    const name = k === 1 ? "chain_note" : "chain_both", weights = this.tensors[name], bias = this.tensors[`${name}_bias`];
    const n = this.hidden, width = weights.length / n, ones = k === 1 ? [event[0]] : [event[0], this.sizes[0] + event[1]];
    return Float64Array.from(hidden, (value, row) => {
      let sum = bias[row];
      for (let i = 0; i < n; i++) sum += weights[row * width + i] * hidden[i];
      for (const one of ones) sum += weights[row * width + n + one];
      return value + Math.tanh(sum);
    });
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/* What a network has read of a piece. With a window of T events it holds at least the last T / 2 (or all there were)
   and at most the last T: two states take turns, the second beginning while the first reads its second half. That
   costs two steps an event, where a window read anew would cost T. */
class Context {
  constructor(network) {
    this.network = network;
    this.window = network.data.window;
    this.states = [this.begin()];
  }

  begin() {
    return { layers: this.network.empty(), events: 0 };
  }

  read(event) {
    for (const state of this.states) {
      this.network.step(state.layers, event);
      state.events++;
    }
    if (!this.window) return;
    if (this.states[0].events >= this.window) this.states.shift();
    if (this.states.length < 2 && (!this.states.length || this.states[0].events >= Math.ceil(this.window / 2))) this.states.push(this.begin());
  }

  /* The output of the last layer, (H,). */
  get hidden() {
    return this.states[0].layers.at(-1).h;
  }

  /* Number of events that `hidden` represents. */
  get events() {
    return this.states[0].events;
  }
}

/* Drawing classes: composer.composing.sampling has the formulas and their sources. */
const sampling = {
  softmax(logits, temperature = 1) {
    let most = -Infinity, sum = 0;
    for (const one of logits) most = Math.max(most, one);
    const p = Float64Array.from(logits, (one) => Math.exp((one - most) / temperature));
    for (const one of p) sum += one;
    return p.map((one) => one / sum);
  },

  /* Returns the logits without the label smoothing of the training. */
  unsmoothed(logits, smoothing, least) {
    if (!smoothing) return logits;
    const q = sampling.softmax(logits), p = q.map((one) => Math.max(one - smoothing / q.length, least * one));
    return p.map((one) => Math.log(one));
  },

  /* Returns the probabilities of the likeliest classes that together reach `topP`. */
  nucleus(p, topP) {
    if (topP >= 1) return p;
    const order = Array.from(p.keys()).sort((a, b) => p[b] - p[a]), kept = new Float64Array(p.length);
    let sum = 0;
    for (const k of order) {
      if (sum >= topP) break;
      kept[k] = p[k];
      sum += p[k];
    }
    return kept.map((one) => one / sum);
  },

  draw(p, uniform) {
    let sum = 0, last = 0;
    for (let k = 0; k < p.length; k++) {
      if (!p[k]) continue;
      sum += p[k];
      last = k;
      if (sum > uniform) return k;
    }
    return last;
  },

  /* Returns reproducible numbers in [0, 1): mulberry32. */
  random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  },
};
