// What d2l_init.mean_field predicts, computed in the reader's browser: a test compares both.
// Weights have variance σ_w²/fan-in, biases σ_b²; q is the second moment of the pre-activations.
"use strict";

const meanField = (() => {
  const LAMBDA = 1.0507009873554805, ALPHA = 1.6732632423543772;
  const expit = z => 1 / (1 + Math.exp(-z));
  const softplus = z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
  const density = z => Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
  const elu = z => (z > 0 ? z : Math.expm1(z));

  // Each activation and its slope, by MXNet's name.
  const ACTIVATIONS = {
    linear: [z => z, () => 1],
    relu: [z => Math.max(z, 0), z => (z > 0 ? 1 : 0)],
    leaky_relu: [z => (z > 0 ? z : 0.01 * z), z => (z > 0 ? 1 : 0.01)],
    tanh: [Math.tanh, z => 1 - Math.tanh(z) ** 2],
    sigmoid: [expit, z => expit(z) * expit(-z)],
    log_sigmoid: [z => -softplus(-z), z => expit(-z)],
    softrelu: [softplus, expit],
    softsign: [z => z / (1 + Math.abs(z)), z => 1 / (1 + Math.abs(z)) ** 2],
    elu: [elu, z => Math.exp(Math.min(z, 0))],
    selu: [z => LAMBDA * (z > 0 ? z : ALPHA * Math.expm1(z)),
           z => LAMBDA * (z > 0 ? 1 : ALPHA * Math.exp(z))],
    gelu: [z => z * cdf(z), z => cdf(z) + z * density(z)],
    swish: [z => z * expit(z), z => expit(z) * (1 + z * expit(-z))],
  };

  // The normal distribution function, by the rational Chebyshev fit of erfc (error below 1.2e-7)
  // in Numerical Recipes, 2nd edition, section 6.2.
  function cdf(z) {
    const fit = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
                 0.09678418, 0.37409196, 1.00002368, -1.26551223];
    const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + x / 2);
    const tail = t * Math.exp(-x * x + fit.reduce((sum, one) => sum * t + one, 0)) / 2;
    return z > 0 ? 1 - tail : tail;
  }

  // Nodes u³ with u evenly spaced: dense at 0, where activations have kinks and large signals see
  // the steep part of tanh; there the factor 3u² of the rule is 0.
  const NODES = [];
  for (let u = -2.1; u < 2.11; u += 0.02) {
    NODES.push([u ** 3, 3 * u * u * 0.02 * density(u ** 3)]);
  }

  // E[φ²], E[φ⁴], E[φ²(z² − 1)] and E[φ′²] for pre-activations √q·z.
  function moments(name, q) {
    const [phi, slope] = ACTIVATIONS[name], scale = Math.sqrt(q);
    let second = 0, fourth = 0, curved = 0, slopes = 0;
    for (const [z, weight] of NODES) {
      const square = phi(scale * z) ** 2;
      second += weight * square;
      fourth += weight * square * square;
      curved += weight * square * (z * z - 1);
      slopes += weight * slope(scale * z) ** 2;
    }
    return {second, fourth, curved, slopes};
  }

  // q by layer and the ends of the band in which 95 of 100 nets of this width lie.
  function signal({activation, sigmaW, sigmaB, depth, width, q0 = sigmaW ** 2 + sigmaB ** 2}) {
    const q = [q0], spread = [];
    let variance = 0; // of q over nets, relative to q²
    for (let layer = 0; layer < depth; layer++) {
      spread.push(Math.sqrt(variance + 2 / width));
      const now = Math.min(Math.max(q[layer], 1e-40), 1e40), m = moments(activation, now);
      const after = sigmaW ** 2 * m.second + sigmaB ** 2;
      const fresh = (sigmaW ** 2 / after) ** 2 * (m.fourth - m.second ** 2) / width;
      variance = fresh + (sigmaW ** 2 * m.curved / (2 * after)) ** 2 * variance;
      q.push(now === q[layer] ? after
                              : sigmaW ** 2 * moments(activation, q[layer]).second + sigmaB ** 2);
    }
    q.pop();
    const end = side => q.map((one, k) => one * Math.exp(-(spread[k] ** 2) / 2 + side * 1.96 * spread[k]));
    return {q, low: end(-1), high: end(1)};
  }

  // Moments at 40 values of q a decade: phases need many of them.
  const tables = {};
  const FIRST = -8, LAST = 8, STEPS = 40;
  function table(name) {
    return tables[name] ??= Array.from({length: (LAST - FIRST) * STEPS + 1}, (_, k) => {
      const q = 10 ** (FIRST + k / STEPS), {second, slopes} = moments(name, q);
      return {q, second, slopes};
    });
  }

  // Where q settles, from σ_w² + σ_b² on: 0 or Infinity where it never does.
  function limit({activation, sigmaW, sigmaB}, second, narrowed) {
    const grid = table(activation), start = sigmaW ** 2 + sigmaB ** 2;
    const share = (q, moment) => (sigmaW ** 2 * moment + sigmaB ** 2) / q - 1;
    const first = share(start, second(start)), way = Math.sign(first);
    if (Math.abs(first) < 1e-9) return start;
    const place = (Math.log10(start) - FIRST) * STEPS;
    let k = way > 0 ? Math.ceil(place) : Math.floor(place), before = [start, first];
    for (; grid[k]; k += way) {
      const now = [grid[k].q, share(grid[k].q, grid[k].second)];
      if (now[1] * way <= 0) return narrowed(before, now, q => share(q, second(q)));
      before = now;
    }
    return way > 0 ? Infinity : 0;
  }

  const inside = q => Math.min(Math.max(q, 10 ** FIRST), 10 ** LAST);

  // q* and χ₁ = σ_w² E[φ′²], a layer's factor on the gradient's mean square there.
  function phase(setting) {
    const halved = ([near], [far], share) => {
      const rises = share(near) > 0;
      for (let halving = 0; halving < 40; halving++) {
        const middle = Math.sqrt(near * far);
        if (share(middle) > 0 === rises) near = middle;
        else far = middle;
      }
      return far;
    };
    const qStar = limit(setting, q => moments(setting.activation, q).second, halved);
    const {slopes} = moments(setting.activation, qStar === 0 ? 1e-16 : Math.min(qStar, 1e16));
    return {qStar, chi1: setting.sigmaW ** 2 * slopes};
  }

  // The same χ₁ read off the table, for pictures.
  function roughChi(setting) {
    const grid = table(setting.activation);
    const read = (what, q) => {
      const place = (Math.log10(inside(q)) - FIRST) * STEPS;
      const k = Math.min(Math.floor(place), grid.length - 2);
      return grid[k][what] + (place - k) * (grid[k + 1][what] - grid[k][what]);
    };
    const crossed = ([near, a], [far, b]) => near * (far / near) ** (a / (a - b));
    return setting.sigmaW ** 2 * read("slopes", limit(setting, q => read("second", q), crossed));
  }

  // The σ_w in a range at which χ₁ passes 1, for one σ_b.
  function edges(activation, sigmaB, low, high, steps = 58) {
    const chaotic = sigmaW => roughChi({activation, sigmaW, sigmaB}) > 1;
    const found = [], step = (high - low) / steps;
    for (let k = 0, before = chaotic(low); k < steps; k++) {
      let near = low + k * step, far = near + step;
      const after = chaotic(far);
      if (after !== before) {
        for (let halving = 0; halving < 8; halving++) {
          const middle = (near + far) / 2;
          if (chaotic(middle) === before) near = middle;
          else far = middle;
        }
        found.push((near + far) / 2);
      }
      before = after;
    }
    return found;
  }

  // The rms of one net's pre-activations by layer. Given a layer's input h, the entries of Wh + b
  // are independent normal variables of variance σ_w² mean(h²) + σ_b²: no matrix needs be drawn.
  function draw({activation, sigmaW, sigmaB, depth, width}, seed) {
    const normal = normals(seed), phi = ACTIVATIONS[activation][0], rms = [];
    let square = 1; // mean square of the layer's input
    for (let layer = 0; layer < depth; layer++) {
      const scale = Math.sqrt(sigmaW ** 2 * square + sigmaB ** 2);
      let before = 0, after = 0;
      for (let unit = 0; unit < width; unit++) {
        const z = scale * normal();
        before += z * z;
        after += phi(z) ** 2;
      }
      rms.push(Math.sqrt(before / width));
      square = after / width;
    }
    return rms;
  }

  // Box and Muller's normal variables from the generator mulberry32.
  function normals(seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
    return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }

  return {ACTIVATIONS, signal, phase, edges, draw};
})();
