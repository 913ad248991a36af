// The video, its time line and the moment that is played.

import { clock, ticks } from "./times.js";

const element = (id) => document.getElementById(id);
const video = element("video");
const seek = element("seek");
const play = element("play");
const screen = element("screen");

let length = 0; // seconds on the time line
let stopAt = null; // end of the moment that is played
let ended = () => {};
let unplayable = () => {};

export function onMomentEnd(callback) {
  ended = callback;
}

// Called when the browser cannot play the file, to have the reason found out and shown.
export function onUnplayable(callback) {
  unplayable = callback;
}

export function show(address, name) {
  stopAt = null;
  video.hidden = false;
  screen.hidden = true;
  video.setAttribute("aria-label", name);
  setLength(0);
  enable(false);
  video.src = address;
  video.load();
}

export function hide(words) {
  stopAt = null;
  video.pause();
  video.hidden = true;
  screen.hidden = false;
  screen.textContent = words;
  enable(false);
}

export function clear() {
  video.removeAttribute("src");
  video.load();
  setLength(0);
  hide("No video is chosen yet.");
}

// The time line of an answer also where the browser cannot play the file.
export function knowLength(seconds) {
  if (!Number.isFinite(video.duration)) setLength(seconds);
}

export function duration() {
  return length;
}

// Also before its first bytes are there: what is set then, holds from the beginning.
function playable() {
  return !video.hidden && video.error === null;
}

export function jump(seconds) {
  stopAt = null;
  if (!playable()) return;
  video.pause();
  video.currentTime = seconds;
}

export async function playMoment(start, end) {
  if (!playable()) return;
  video.currentTime = start;
  stopAt = end;
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "AbortError") stopAt = null; // paused again before it began
  }
}

function setLength(seconds) {
  length = seconds;
  seek.max = String(seconds || 1);
  const marks = seconds > 0 ? ticks(seconds, element("ticks").clientWidth < 500 ? 4 : 9) : [];
  element("ticks").replaceChildren(
    ...marks.map((time) => {
      const mark = document.createElement("span");
      mark.textContent = clock(time).replace(/\.0$/, "");
      mark.style.left = `${(100 * time) / seconds}%`;
      mark.classList.toggle("last", time > 0.97 * seconds);
      return mark;
    }),
  );
  moved();
}

function enable(on) {
  for (const id of ["seek", "play", "mute", "full"]) element(id).disabled = !on;
}

function moved() {
  const share = length > 0 ? Math.min(video.currentTime / length, 1) : 0;
  seek.value = String(video.currentTime);
  seek.setAttribute("aria-valuetext", `${clock(video.currentTime)} of ${clock(length)}`);
  element("played").style.width = `${100 * share}%`;
  element("head").style.left = `${100 * share}%`;
  element("time").textContent = length > 0 ? `${clock(video.currentTime)} of ${clock(length)}` : "0:00.0";
}

function watch() {
  if (stopAt !== null && video.currentTime >= stopAt) {
    const end = stopAt;
    stopAt = null;
    video.pause();
    video.currentTime = end;
    ended();
  }
  moved();
}

// `timeupdate` comes four times a second: too late for the end of a moment, but also in a tab behind others.
function everyFrame() {
  watch();
  if (!video.paused && !video.ended) requestAnimationFrame(everyFrame);
}

video.addEventListener("loadedmetadata", () => {
  if (!video.videoWidth) {
    unplayable(); // only the sound is understood
    return;
  }
  if (Number.isFinite(video.duration)) setLength(video.duration);
  enable(true);
});
video.addEventListener("error", () => {
  if (video.hasAttribute("src")) unplayable();
});
video.addEventListener("timeupdate", watch);
video.addEventListener("seeked", moved);
video.addEventListener("play", () => {
  play.textContent = "Pause";
  requestAnimationFrame(everyFrame);
});
video.addEventListener("pause", () => {
  play.textContent = "Play";
});
video.addEventListener("ended", () => {
  if (stopAt !== null) ended();
  stopAt = null;
});
video.addEventListener("click", toggle);
play.addEventListener("click", toggle);
seek.addEventListener("input", () => goTo(Number(seek.value)));
element("mute").addEventListener("click", () => {
  video.muted = !video.muted;
  element("mute").setAttribute("aria-pressed", String(video.muted));
});
element("full").addEventListener("click", () => video.requestFullscreen?.());
// The space bar plays and pauses, left and right go a second back and on, except where they mean something else.
document.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const free = event.target === document.body || event.target === seek || event.target.closest("#moments");
  if (!playable() || play.disabled || !(by ? free : event.key === " " && event.target === document.body)) return;
  event.preventDefault();
  if (!by) toggle();
  else goTo(Math.min(Math.max(video.currentTime + by, 0), length));
});

function goTo(seconds) {
  stopAt = null;
  ended();
  video.currentTime = seconds;
}

function toggle() {
  if (!playable()) return;
  stopAt = null;
  ended();
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}
