// The answer: moments as buttons, the curve below the time line.

import * as player from "./player.js";
import { clearStrip, drawStrip, markLane } from "./strip.js";
import { clock, shownScore } from "./times.js";

const element = (id) => document.getElementById(id);

let answer = null; // the one on the page
let picked = 0; // number of the moment that the buttons below the list are about
let told = () => {};

player.onMomentEnd(() => current(-1));

// Called when a moment is played.
export function onMoment(callback) {
  told = callback;
}

// The moment that was played last, the best one at first, and the sentence that it answers.
export function pickedMoment() {
  const moment = answer.moments[picked];
  return { ...moment, query: answer.query, times: timesOf(moment) };
}

function timesOf({ start_sec, end_sec }) {
  return `${start_sec.toFixed(1)}-${end_sec.toFixed(1)}`;
}

export function moveBetweenMoments(by) {
  const buttons = element("moments").querySelectorAll("button");
  const button = buttons[Math.min(Math.max(picked + by, 0), buttons.length - 1)];
  button?.focus();
  button?.click();
}

function pick(number) {
  picked = number;
  element("taken").textContent = `Moment ${number + 1}:`;
}

export function clearAnswer() {
  element("answer").hidden = true;
  clearStrip();
}

// Buttons for the moments of an answer, its curve, and what else there is to say; returns the sentence for the status line.
// The player goes to the moment of a time such as "1.5-4.0", where there is one, else to the best.
export function showAnswer(found, { trained }, at = null) {
  player.knowLength(found.duration_sec);
  const duration = player.duration() || found.duration_sec;
  element("moments").replaceChildren(...found.moments.map((moment, number) => momentButton(moment, number)));
  drawStrip(found, duration);
  element("answer").hidden = false;
  answer = found;
  element("take").hidden = !found.moments.length;
  const notes = [];
  const taken = found.matched.map(({ action, probability }) => `${action} (${shownScore(probability)})`);
  if (taken.length && !found.refused) notes.push(`Taken for: ${taken.join(", ")}.`);
  if (found.unknown_words.length) notes.push(`Words without a meaning to this model: ${found.unknown_words.join(", ")}.`);
  if (found.left_out_words.length) notes.push(`Too long; left out: ${found.left_out_words.join(" ")}.`);
  if (!trained) notes.push("This model was not trained: its answers are chance.");
  if (found.learned_from) notes.push(`Learned from ${found.learned_from}.`);
  if (found.unseen_words?.length) notes.push(`Never saw there: ${found.unseen_words.join(", ")}.`);
  notes.push(
    found.confidence === null
      ? `Answered by ${found.method}. Scores rank the moments of one answer; they are no confidence.`
      : `Answered by ${found.method}. A score is the mean probability of these actions in the moment.`,
  );
  element("notes").textContent = notes.join(" ");
  const best = found.moments[0];
  const count = found.moments.length === 1 ? "One moment" : `${found.moments.length} moments`;
  if (!best) return found.refused ? `Refused: ${found.refused}.` : "No moment was found.";
  pick(Math.max(found.moments.findIndex((moment) => timesOf(moment) === at), 0));
  player.jump(found.moments[picked].start_sec);
  markLane(picked);
  return `${count}; the best from ${clock(best.start_sec)} to ${clock(best.end_sec)}.`;
}

function momentButton(moment, number) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  const score = shownScore(moment.score);
  const span = `${clock(moment.start_sec)} – ${clock(moment.end_sec)}`;
  const parts = [
    ["rank", String(number + 1)],
    ["span", span],
    ["score", score],
  ].map(([name, text]) => {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    return part;
  });
  const meter = document.createElement("i");
  meter.style.width = `${100 * Math.min(moment.score, 1)}%`;
  button.append(...parts, meter);
  button.setAttribute(
    "aria-label",
    `Play moment ${number + 1}: ${clock(moment.start_sec)} to ${clock(moment.end_sec)}, score ${score}`,
  );
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur(); // of a mouse: the space bar belongs to the player then
    pick(number);
    told();
    current(number);
    player.playMoment(moment.start_sec, moment.end_sec);
  });
  item.append(button);
  return item;
}

function current(number) {
  [...element("moments").querySelectorAll("button")].forEach((button, index) => {
    if (index === number) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  markLane(number);
}
