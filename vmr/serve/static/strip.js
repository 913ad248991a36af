// The curve and the moments below the time line, on the same scale of time.

import { clock } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const HEIGHT = 100;
const element = (id) => document.getElementById(id);

export function clearStrip() {
  element("strip").replaceChildren();
  element("strip").setAttribute("aria-label", "No curve yet");
  element("lanes").replaceChildren();
  element("key").hidden = true;
}

export function drawStrip(answer, duration) {
  const { curve } = answer;
  const inside = curve.inside ?? null;
  // Whatever else the method says of the steps sums to 1 over them: one scale for all of it.
  const names = Object.keys(curve).filter((name) => !["start_sec", "end_sec", "inside"].includes(name));
  const peak = Math.max(...names.flatMap((name) => curve[name]), 1e-9);
  const shapes = inside === null ? [] : [shape("inside", area(curve, inside, 1, duration))];
  shapes.push(...names.map((name) => shape(name, outline(curve, curve[name], peak, duration))));
  element("strip").replaceChildren(...shapes);
  const most = (values) => curve.start_sec[values.indexOf(Math.max(...values))];
  const words = { start: "a start is likeliest", end: "an end", inside: "the moment is likeliest" };
  const told = (name) => `${words[name] ?? `${name} is highest`} at ${clock(most(curve[name]))}`;
  element("strip").setAttribute(
    "aria-label",
    `Curve over ${clock(duration)}: ${(names.length ? names : ["inside"]).map(told).join(", ")}.`,
  );
  element("lanes").replaceChildren(...answer.moments.map((moment) => lane(moment, duration)));
  element("key").hidden = false;
  for (const sign of element("key").children) sign.hidden = !(sign.firstElementChild.className in curve);
}

export function markLane(number) {
  const shown = Math.max(number, 0); // the best one where none is played
  [...element("lanes").children].forEach((each, index) => each.classList.toggle("current", index === shown));
}

// Nothing of a moment in another video.
function lane(moment, duration) {
  const row = document.createElement("div");
  row.hidden = !moment;
  if (!moment) return row;
  const bar = document.createElement("i");
  bar.style.left = `${(100 * moment.start_sec) / duration}%`;
  bar.style.width = `${(100 * (moment.end_sec - moment.start_sec)) / duration}%`;
  row.append(bar);
  return row;
}

function shape(name, points) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", name);
  path.setAttribute("d", points);
  return path;
}

// Steps, not slopes: each value holds for an interval.
function outline(curve, values, scale, duration) {
  return values
    .map((value, step) => {
      const y = (HEIGHT * (1 - (0.98 * value) / scale)).toFixed(1);
      const from = at(curve.start_sec[step], duration);
      return `${step ? "L" : "M"}${from} ${y}L${at(curve.end_sec[step], duration)} ${y}`;
    })
    .join("");
}

function area(curve, values, scale, duration) {
  const last = curve.end_sec[curve.end_sec.length - 1];
  const top = outline(curve, values, scale, duration).replace("M", "L");
  return `M${at(curve.start_sec[0], duration)} ${HEIGHT}${top}L${at(last, duration)} ${HEIGHT}Z`;
}

function at(seconds, duration) {
  return ((WIDTH * seconds) / duration).toFixed(1);
}
