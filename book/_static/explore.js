// Sliders that redraw a signal by depth and its place in the phase diagram, without a kernel.
// They stand in every element with the attribute data-explore; formulas are in mean-field.js.
"use strict";

(() => {
  const SLIDERS = {
    sigmaW: {label: "gain σ<sub>w</sub>", min: 0.1, max: 3, step: 0.05, value: 1},
    sigmaB: {label: "biases σ<sub>b</sub>", min: 0, max: 1, step: 0.05, value: 0},
    depth: {label: "depth", min: 2, max: 100, step: 1, value: 50},
    width: {label: "width", min: 10, max: 200, step: 10, value: 100},
  };
  const MOST_POINTS = 25, ROWS = 20, HEIGHT = 250, EDGE = {left: 58, right: 14, top: 12, bottom: 40};
  const NET = "Draw another net";
  const LEAD = "These sliders need no kernel. Predict what the signal will do, then move one.";

  const element = (name, attributes, inside = "") => {
    const told = Object.entries(attributes).map(([key, value]) => ` ${key}="${value}"`).join("");
    return `<${name}${told}>${inside}</${name}>`;
  };
  const path = points => points.map(([x, y], k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const sigma = of => "σ" + element("tspan", {dy: 3, "font-size": 9}, of);
  const text = (x, y, words, anchor = "middle") => element("text", {x, y, "text-anchor": anchor}, words);

  // Three significant digits, as in the course's captions.
  function short(value) {
    if (value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1000)) {
      return String(Number(value.toPrecision(3)));
    }
    const [digits, power] = value.toExponential(1).split("e");
    return `${digits} × 10${raised(Number(power))}`;
  }
  const raised = power => String(power).replace(/./g, one => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(one)]);

  function axes(width, x, y, names) {
    const right = width - EDGE.right, bottom = HEIGHT - EDGE.bottom;
    const across = ([low, high], value) => EDGE.left + (right - EDGE.left) * (value - low) / (high - low);
    const up = ([low, high], value) => bottom - (bottom - EDGE.top) * (value - low) / (high - low);
    const at = (a, b) => [across(x.range, a), up(y.range, b)];
    const ticks = x.ticks.map(([value, words]) => {
      const [place] = at(value, y.range[0]);
      return element("path", {d: `M${place} ${bottom}v4`}) + text(place, bottom + 16, words);
    }).concat(y.ticks.map(([value, words]) => {
      const [, place] = at(x.range[0], value);
      return element("path", {d: `M${EDGE.left} ${place}h-4`}) + text(EDGE.left - 7, place + 4, words, "end");
    }));
    const frame = element("path", {d: `M${EDGE.left} ${EDGE.top}V${bottom}H${right}`});
    const middle = (EDGE.top + bottom) / 2;
    const labels = text((EDGE.left + right) / 2, HEIGHT - 6, names[0]) + element("text",
      {"text-anchor": "middle", transform: `translate(11 ${middle}) rotate(-90)`}, names[1]);
    return {at, drawn: element("g", {class: "axes"}, frame + ticks.join("") + labels)};
  }

  function drawSignal(svg, setting, theory, rms) {
    const line = theory.q.map(Math.sqrt), low = theory.low.map(Math.sqrt), high = theory.high.map(Math.sqrt);
    const all = [...line, ...low, ...high, ...rms].filter(one => one > 0).map(Math.log10);
    const range = [Math.min(-1, Math.floor(Math.min(...all))), Math.max(1, Math.ceil(Math.max(...all)))];
    const decades = Math.ceil((range[1] - range[0]) / 6), y = [];
    for (let k = range[0]; k <= range[1]; k += decades) {
      y.push([k, Math.abs(k) < 3 ? String(Number((10 ** k).toPrecision(1))) : `10${raised(k)}`]);
    }
    const step = [1, 2, 5, 10, 20, 25].find(one => setting.depth / one <= 5), x = [];
    for (let k = step > 1 ? step : 2; k <= setting.depth; k += step) x.push([k, k]);
    const {at, drawn} = axes(svg.clientWidth, {range: [0.5, setting.depth + 0.5], ticks: [[1, 1], ...x]},
                             {range, ticks: y}, ["layer", "rms of pre-activations"]);
    const along = values => values.map((value, k) => at(k + 1, Math.log10(Math.max(value, 1e-300))));
    const every = Math.ceil(setting.depth / MOST_POINTS);
    const points = along(rms).filter((_, k) => k % every === 0);
    svg.innerHTML = element("path", {class: "band", d: `${path([...along(high), ...along(low).reverse()])}Z`})
      + element("path", {class: "predicted", d: path(along(line))})
      + points.map(([cx, cy]) => element("circle", {class: "net", cx, cy, r: 3})).join("") + drawn;
    const drawnAt = rms.map((_, k) => k).filter(k => k % every === 0);
    return [drawnAt.filter(k => low[k] <= rms[k] && rms[k] <= high[k]).length, drawnAt.length];
  }

  const regions = {}; // by activation: for each row's σ_b the σ_w at which χ₁ passes 1
  const up = row => (row / ROWS) ** 2; // denser at 0, where the edge bends
  function drawPhases(svg, setting) {
    const {min, max} = SLIDERS.sigmaW;
    const rows = regions[setting.activation] ??= Array.from({length: ROWS + 1},
      (_, k) => meanField.edges(setting.activation, up(k), min, max));
    const {at, drawn} = axes(svg.clientWidth, {range: [0, max], ticks: [0, 1, 2, 3].map(k => [k, k])},
                             {range: [0, 1], ticks: [0, 0.5, 1].map(k => [k, k])}, ["w", "b"].map(sigma));
    let areas = "", edge = "";
    for (let k = 0; k < ROWS; k++) {
      const b = [up(k), up(k + 1)];
      const pair = rows[k].length === rows[k + 1].length ? [rows[k], rows[k + 1]] : [rows[k + 1], rows[k + 1]];
      const [under, over] = pair.map(row => [0, ...row, max]);
      under.slice(1).forEach((_, j) => {
        const corners = [at(under[j], b[0]), at(under[j + 1], b[0]), at(over[j + 1], b[1]), at(over[j], b[1])];
        areas += element("path", {class: j % 2 ? "chaotic" : "ordered", d: `${path(corners)}Z`});
        if (j) edge += path([corners[0], corners[3]]);
      });
    }
    const first = rows[ROWS].length ? Math.min(...rows[ROWS]) : max;
    const [x, y] = at(first / 2, 0.88), [beyond] = at((first + max) / 2, 0.88);
    const words = text(x, y, "ordered") + (first < 2.5 ? text(beyond, y, "chaotic") : "");
    const [cx, cy] = at(setting.sigmaW, setting.sigmaB);
    svg.innerHTML = areas + element("path", {class: "edge", d: edge}) + drawn + words
      + element("circle", {class: "here", cx, cy, r: 6});
  }

  function describe(setting, theory, rms, [within, all]) {
    const {qStar, chi1} = meanField.phase(setting);
    const last = setting.depth - 1, from = Math.sqrt(theory.q[0]), to = Math.sqrt(theory.q[last]);
    const end = qStar === 0 ? "Deeper nets lose it altogether"
      : qStar === Infinity ? "In deeper nets it grows without end"
      : `In deeper nets it settles at ${short(Math.sqrt(qStar))}`;
    const phase = Math.abs(chi1 - 1) < 0.005 ? "at the edge of chaos, where gradients keep their size"
      : chi1 < 1 ? "the ordered phase, where gradients shrink from layer to layer"
      : "beyond the edge of chaos, where gradients grow from layer to layer";
    return `${setting.depth} ${setting.activation} layers of ${setting.width} units. The signal’s rms goes from `
      + `${short(from)} to ${short(to)}, predicted; in this net from ${short(rms[0])} to ${short(rms[last])}, `
      + `inside the band at ${within} of ${all} points. ${end}. χ₁ = ${short(chi1)}: ${phase}.`;
  }

  function mount(place, number) {
    const sliders = Object.entries(SLIDERS).map(([key, {label, ...range}]) => {
      const id = `explore-${number}-${key}`;
      return element("label", {for: id}, label) + `<input type="range" id="${id}" name="${key}"${
        Object.entries(range).map(([name, value]) => ` ${name}="${value}"`).join("")}>`
        + element("output", {for: id});
    });
    const options = Object.keys(meanField.ACTIVATIONS).map(name =>
      `<option${name === "tanh" ? " selected" : ""}>${name}</option>`);
    const id = `explore-${number}-activation`;
    const panel = (name, title, key) => element("div", {class: "explore-panel"},
      element("p", {class: "explore-title", id: `explore-${number}-${name}`}, title)
      + element("svg", {class: name, role: "img", "aria-labelledby": `explore-${number}-${name}`,
                         "aria-describedby": `explore-${number}-words`})
      + element("p", {class: "explore-key"}, key));
    place.classList.add("explore");
    place.innerHTML = element("p", {class: "explore-lead"}, LEAD) + element("form", {class: "explore-controls", "aria-label": "the net"},
      element("label", {for: id}, "activation") + element("select", {id, name: "activation"}, options.join(""))
      + sliders.join("") + element("button", {type: "button"}, NET))
      + element("div", {class: "explore-panels"},
        panel("signal", "The signal by depth", "Line: predicted. Pale: where 95 of 100 nets lie. Points: one net.")
        + panel("phases", "Where the net lies", "Line: the edge of chaos, χ₁ = 1. Circle: the net."))
      + element("p", {class: "explore-words", id: `explore-${number}-words`, "aria-live": "polite"});
    const form = place.querySelector("form"), find = name => place.querySelector(name);
    let seed = 1;

    function redraw() {
      const setting = {activation: form.elements.activation.value};
      for (const key of Object.keys(SLIDERS)) {
        setting[key] = Number(form.elements[key].value);
        form.elements[key].nextElementSibling.value = setting[key];
      }
      const theory = meanField.signal(setting), rms = meanField.draw(setting, seed);
      const within = drawSignal(find("svg.signal"), setting, theory, rms);
      drawPhases(find("svg.phases"), setting);
      find(".explore-words").textContent = describe(setting, theory, rms, within);
    }

    form.addEventListener("input", redraw);
    form.addEventListener("submit", event => event.preventDefault());
    find("button").addEventListener("click", () => { seed += 1; redraw(); });
    let drawn = 0; // the width for which it was drawn
    new ResizeObserver(() => {
      if (drawn !== (drawn = place.clientWidth)) redraw();
    }).observe(place);
  }

  function start() {
    document.querySelectorAll("[data-explore]").forEach(mount);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
