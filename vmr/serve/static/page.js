// What the visitor does, and what follows.

import { clearAnswer, moveBetweenMoments, onMoment, pickedMoment, showAnswer, showCurve } from "./answer.js";
import { download, pause, request } from "./api.js";
import * as player from "./player.js";
import { clearStrip } from "./strip.js";
import { clock, megabytes } from "./times.js";
import { send } from "./uploads.js";
import { listVideos, markVideo } from "./videos.js";

const PHASES = {
  waiting: "Waiting",
  "looking at the file": "Looking at the file",
  decoding: "Reading the frames",
  features: "Watching the video",
};
const UNITS = { decoding: "frames", features: "steps" };
const element = (id) => document.getElementById(id);

let facts = { uploads: false, endings: [], upload_bytes: 0 };
let chosen = null; // the video
let question = null; // the sentence that waits for an answer
let job = null; // id of the features in the making that this page waits for; empty before it is known
let working = null; // AbortController of what is under way
let wanted = null; // times of the moment that the address names, until its answer is there

const handlers = { choose, remove };

function say(words) {
  if (element("status").textContent !== words) element("status").textContent = words;
}

function complain(error) {
  element("error").textContent = error?.message ?? "";
  element("error").hidden = !error;
}

function showWork(done, total, amount = "") {
  element("work").hidden = false;
  element("amount").textContent = amount;
  const progress = element("progress");
  if (total > 0) {
    progress.max = total;
    progress.value = done;
  } else {
    progress.removeAttribute("value");
  }
}

// One thing at a time: what is begun ends what was under way. Errors are shown; being stopped is none.
async function work(task) {
  working?.abort();
  const own = (working = new AbortController());
  complain(null);
  try {
    await task(own.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    say("");
    complain(error);
  } finally {
    if (working === own) {
      working = null;
      job = null;
      element("work").hidden = true;
    }
  }
}

async function refresh() {
  try {
    await listVideos(handlers);
  } catch (error) {
    complain(error);
  }
}

function leave() {
  working?.abort();
  working = null;
  job = null;
  question = null;
  wanted = null;
  element("work").hidden = true;
  clearAnswer();
  say("");
  complain(null);
}

// In the player, unless it is there already.
function open(video) {
  if (chosen?.id === video.id) return;
  chosen = video;
  markVideo(video.id);
  clearStrip();
  player.show(`/media/${video.id}`, video.name);
  void warn(video);
}

// Chromium, but not every browser, counts from where the clock of the file does; moments count from its first picture.
async function warn(video) {
  element("late").hidden = true;
  const { start_sec: late = 0 } = await request(`/api/videos/${video.id}`).catch(() => ({}));
  if (chosen?.id !== video.id || !(late > 0.2)) return;
  const words = "so that this player may show each moment too early by as much. What is downloaded is right.";
  element("late").textContent = `The clock of this file begins at ${clock(late)}, ${words}`;
  element("late").hidden = false;
}

function choose(video) {
  leave();
  chosen = null;
  open(video);
  remember({ video: video.id });
  say(`${video.name} is chosen.`);
}

async function remove(video) {
  await work(async () => {
    await request(`/api/videos/${video.id}`, { method: "DELETE" });
    if (chosen?.id === video.id) {
      leave();
      chosen = null;
      player.clear();
      remember({});
    }
    say(`${video.name} is removed.`);
    element("search").focus();
  });
  await refresh();
}

async function take(file) {
  const before = chosen;
  complain(null);
  try {
    say(`Uploading ${file.name}`);
    const video = await send(file, facts);
    await refresh();
    if (chosen === before && working === null) {
      choose(video);
      void work((signal) => prepare(video, signal));
    } else {
      say(`${video.name} is uploaded.`);
    }
  } catch (error) {
    say(error.name === "AbortError" ? `${file.name} is not uploaded.` : "");
    if (error.name !== "AbortError") complain(error);
  }
}

// Features of an upload are begun while the visitor types.
async function prepare(video, signal) {
  job = "";
  const begun = await request(`/api/videos/${video.id}/features`, { method: "POST", signal });
  if (begun.job) await wait(begun.job, signal);
  job = null;
  if (question === null) say(`${video.name} is ready. What happens in it?`);
  else await answer(signal);
}

async function wait(begun, signal) {
  job = begun.id;
  await follow(begun, signal, ({ before, what, done, total }) => {
    const others = before === 1 ? "one video" : `${before} videos`;
    say(before ? `Waiting for ${others} before this one` : (PHASES[what] ?? what));
    showWork(done, total, total ? `${done} of ${total} ${UNITS[what] ?? ""}` : "");
  });
  job = null;
}

// A job on the server, told again and again until it ends.
async function follow(begun, signal, tell) {
  let state = begun;
  for (let delay = 150; ["waiting", "running"].includes(state.state); delay = Math.min(1.3 * delay, 1500)) {
    tell(state);
    await pause(delay, signal);
    state = await request(`/api/jobs/${begun.id}`, { signal });
  }
  if (state.state === "failed") throw new Error(state.error);
  if (state.state === "stopped") throw new DOMException("stopped", "AbortError");
  return state;
}

async function answer(signal) {
  for (;;) {
    const asked = { video: chosen.id, query: question, top: Number(element("top").value) }; // another question may come meanwhile
    const found = await request("/api/ask", { method: "POST", json: asked, signal });
    if (!found.job) {
      question = null;
      say(showAnswer(found, facts, wanted));
      remember({ video: chosen.id, query: asked.query, ...(wanted && { t: wanted }) });
      wanted = null;
      return;
    }
    await wait(found.job, signal);
  }
}

// All videos whose names have the words of the box above the list.
async function search(query, names, signal) {
  const { job } = await request("/api/search", {
    method: "POST",
    json: { query, names, top: Number(element("top").value) },
    signal,
  });
  signal.addEventListener("abort", () => request(`/api/jobs/${job.id}`, { method: "DELETE" }).catch(complain));
  const { found } = await follow(job, signal, ({ number, videos, name, what = "", done = 0, total = 0 }) => {
    say(`${name}: ${PHASES[what] ?? "Looking for it"}`);
    showWork(number + (what === "features" ? done / total : 0), videos, `${number} of ${videos} videos`);
  });
  const [best] = found.moments;
  if (best) open(best.video);
  say(showAnswer(found, facts));
  remember({ all: names, query });
  if (best) await curve(best.video, query, signal);
}

// Searches answer without curves, which of many videos are megabytes.
async function curve(video, query, signal) {
  const found = await request("/api/ask", { method: "POST", json: { video: video.id, query, top: 1 }, signal });
  if (found.curve) showCurve(found, video);
}

async function explain() {
  const video = chosen;
  let kind = "";
  try {
    const known = await request(`/api/videos/${video.id}`);
    if (known.reason) {
      if (chosen === video) player.hide(`${video.name} cannot be used: ${known.reason}.`);
      return;
    }
    kind = known.codec ? ` (${known.codec})` : "";
  } catch {
    // The sentence below holds without it.
  }
  if (chosen === video) {
    player.hide(`This browser cannot play files of this kind${kind}. Moments are found all the same.`);
  }
}

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const sentence = element("sentence").value.trim();
  if (!chosen || !sentence) {
    complain(new Error(chosen ? "Say in a sentence what is to be found." : "Choose a video first."));
    return;
  }
  question = sentence;
  clearAnswer();
  if (job !== null) return; // the features are in the making; the question follows them
  say("Looking for it");
  void work((signal) => answer(signal));
});
function searchAll(names) {
  const query = element("sentence").value.trim();
  if (!query) {
    complain(new Error("Say in a sentence what is to be found."));
    return;
  }
  leave();
  say("Looking for it");
  void work((signal) => search(query, names, signal));
}

element("search-all").addEventListener("click", () => searchAll(element("search").value.trim()));
element("stop").addEventListener("click", () => {
  const stopped = job;
  leave();
  say("Stopped.");
  if (stopped) request(`/api/jobs/${stopped}`, { method: "DELETE" }).catch(complain);
  element("sentence").focus();
});
element("file").addEventListener("change", () => {
  const [file] = element("file").files;
  if (file) void take(file).finally(() => (element("file").value = ""));
});
element("search").addEventListener("input", refresh);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file && facts.uploads) void take(file);
});
player.onUnplayable(explain);

// The address holds video, question and time, so that it can be shared and survives a reload.
function remember(kept) {
  history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    say(text); // browsers copy only where the page is encrypted or of this machine
  }
}

onMoment(({ video }) => {
  const { query, times } = pickedMoment();
  if (video) {
    open(video);
    void work((signal) => curve(video, query, signal));
  }
  remember({ video: chosen.id, query, t: times });
});
element("copy").addEventListener("click", () => {
  const { start_sec, end_sec } = pickedMoment();
  void copy(`${clock(start_sec)} - ${clock(end_sec)}`, "Times");
});
element("share").addEventListener("click", () => void copy(location.href, "Address"));
element("download").addEventListener("click", async () => {
  const { start_sec: start, end_sec: end, times } = pickedMoment();
  const name = `${chosen.name.replace(/^.*\/|\.[^.]*$/g, "")}_${times}.mp4`;
  complain(null);
  say("Cutting the moment");
  element("download").disabled = true;
  try {
    await download(`/api/videos/${chosen.id}/moment?start=${start}&end=${end}`, name);
    say(`${name} is downloaded.`);
  } catch (error) {
    say("");
    complain(error);
  } finally {
    element("download").disabled = false;
  }
});
document.addEventListener("keydown", (event) => {
  const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (by && !element("answer").hidden && (event.target === document.body || event.target.closest("#moments"))) {
    event.preventDefault();
    moveBetweenMoments(by);
  }
});

function offerExamples(sentences) {
  element("examples").hidden = !sentences.length;
  if (sentences.length) element("sentence").placeholder = sentences[0];
  for (const sentence of sentences) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sentence;
    button.addEventListener("click", () => {
      element("sentence").value = sentence;
      element("sentence").focus();
    });
    element("examples").append(button);
  }
}

// What the address names is opened and asked again.
async function reopen() {
  const kept = new URLSearchParams(location.hash.slice(1));
  element("sentence").value = kept.get("query") ?? element("sentence").value;
  if (kept.has("all")) {
    element("search").value = kept.get("all");
    await refresh();
    searchAll(kept.get("all"));
  }
  if (!kept.has("video")) return;
  choose(await request(`/api/videos/${encodeURIComponent(kept.get("video"))}`));
  if (!kept.has("query")) return;
  wanted = kept.get("t");
  element("ask").requestSubmit();
}

window.addEventListener("hashchange", () => void reopen().catch(complain));

async function begin() {
  facts = await request("/api/info");
  element("sentence").maxLength = facts.query_chars;
  element("file").accept = facts.endings.join(",");
  element("upload").hidden = !facts.uploads;
  element("upload-limit").textContent = `Up to ${megabytes(facts.upload_bytes)}. Everybody who can open this page sees it.`;
  offerExamples(facts.examples);
  element("search-all").hidden = Boolean(facts.alone);
  element("alone").hidden = !facts.alone;
  element("alone").textContent = facts.alone;
  await listVideos(handlers);
  await reopen();
}

begin().catch(complain);
