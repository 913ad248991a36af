// The answer: moments as buttons, the curve below the time line.

import * as player from "./player.js";
import { clearStrip, drawStrip, markLane } from "./strip.js";
import { clock, shownScore } from "./times.js";

const element = (id) => document.getElementById(id);

let answer = null; // the one on the page
let picked = 0; // number of the moment that the buttons below the list are about
let told = () => {};

player.onMomentEnd(() => current(-1));

// Called with a moment before it is played.
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
// The player goes to the moment of a time such as "1.5-4.0", where there is one, else to the best. The moments of a search
// of many videos name theirs; their curves come by `showCurve`.
export function showAnswer(found, { trained }, at = null) {
  answer = found;
  clearStrip();
  if (found.curve) {
    player.knowLength(found.duration_sec);
    drawStrip(found, player.duration() || found.duration_sec);
  }
  element("moments").replaceChildren(...found.moments.map((moment, number) => momentButton(moment, number)));
  element("answer").hidden = false;
  element("take").hidden = !found.moments.length;
  element("notes").textContent = notes(found, trained).join(" ");
  if (!found.moments.length) return found.refused ? `Refused: ${found.refused}.` : "No moment was found.";
  pick(Math.max(found.moments.findIndex((moment) => timesOf(moment) === at), 0));
  player.jump(found.moments[picked].start_sec);
  markLane(picked);
  const [{ start_sec, end_sec, video }] = found.moments;
  const count = found.moments.length === 1 ? "One moment" : `${found.moments.length} moments`;
  const where = video ? ` in ${found.videos} videos; the best in ${video.name},` : "; the best";
  return `${count}${where} from ${clock(start_sec)} to ${clock(end_sec)}.`;
}

// The curve of the video that a hit of a search lies in, above the hits in it.
export function showCurve(found, video) {
  player.knowLength(found.duration_sec);
  const moments = answer.moments.map((hit) => (hit.video.id === video.id ? hit : null));
  drawStrip({ ...found, moments }, player.duration() || found.duration_sec);
  markLane(picked);
}

function notes(found, trained) {
  const told = [];
  const taken = found.matched.map(({ action, probability }) => `${action} (${shownScore(probability)})`);
  if (taken.length && !found.refused) told.push(`Taken for: ${taken.join(", ")}.`);
  if (found.unknown_words?.length) told.push(`Words without a meaning to this model: ${found.unknown_words.join(", ")}.`);
  if (found.left_out_words?.length) told.push(`Too long; left out: ${found.left_out_words.join(" ")}.`);
  if (!trained) told.push("This model was not trained: its answers are chance.");
  if (found.learned_from) told.push(`Learned from ${found.learned_from}.`);
  if (found.unseen_words?.length) told.push(`Never saw there: ${found.unseen_words.join(", ")}.`);
  told.push(`Answered by ${found.method}.`);
  if (taken.length) told.push("A score is the mean probability of these actions in the moment.");
  else told.push("Scores rank the moments of one answer; they are no confidence.");
  if (found.failed?.length) told.push(`${found.left_out} videos cannot be used: ${found.failed.join(" ")}`);
  return told;
}

function momentButton(moment, number) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  const score = shownScore(moment.score);
  const span = `${clock(moment.start_sec)} – ${clock(moment.end_sec)}`;
  const parts = [text("rank", String(number + 1)), text("span", span), text("score", score)];
  if (moment.video) parts.push(text("name", moment.video.name));
  const meter = document.createElement("i");
  meter.style.width = `${100 * Math.min(moment.score, 1)}%`;
  button.append(...parts, meter);
  const of = moment.video ? ` of ${moment.video.name}` : "";
  button.setAttribute(
    "aria-label",
    `Play moment ${number + 1}: ${clock(moment.start_sec)} to ${clock(moment.end_sec)}${of}, score ${score}`,
  );
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur(); // of a mouse: the space bar belongs to the player then
    pick(number);
    told(moment);
    current(number);
    player.playMoment(moment.start_sec, moment.end_sec);
  });
  item.append(button);
  return item;
}

function text(name, words) {
  const part = document.createElement("span");
  part.className = name;
  part.textContent = words;
  return part;
}

function current(number) {
  [...element("moments").querySelectorAll("button")].forEach((button, index) => {
    if (index === number) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  markLane(number);
}
