// The list of videos.

import { request } from "./api.js";
import { megabytes } from "./times.js";

const element = (id) => document.getElementById(id);

let chosen = null; // id
let shown = 0; // requests can overtake each other: only the latest counts

export async function listVideos({ choose, remove }) {
  const turn = ++shown;
  const words = element("search").value;
  const found = await request(`/api/videos?search=${encodeURIComponent(words)}`);
  if (turn !== shown) return;
  element("videos").replaceChildren(...found.videos.map((video) => row(video, choose, remove)));
  element("search-all").disabled = !found.total;
  element("search-all").textContent = `Search ${words ? "these" : "all"} ${found.total} videos`;
  const more = element("more");
  more.hidden = found.total > 0 && found.total === found.videos.length;
  more.textContent = found.total
    ? `${found.videos.length} of ${found.total} are shown. Search to see others.`
    : words
      ? "No video has such a name."
      : "There are no videos yet.";
  mark();
}

export function markVideo(id) {
  chosen = id;
  mark();
}

function mark() {
  for (const button of element("videos").querySelectorAll("button[data-id]")) {
    if (button.dataset.id === chosen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

// Names come from strangers: only ever as text.
function row(video, choose, remove) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.id = video.id;
  const name = document.createElement("span");
  name.textContent = video.name;
  name.className = "name";
  const size = document.createElement("span");
  size.textContent = megabytes(video.size);
  size.className = "quiet";
  button.append(name, size);
  button.addEventListener("click", () => choose(video));
  item.append(button);
  if (video.uploaded) {
    const away = document.createElement("button");
    away.type = "button";
    away.className = "remove";
    away.textContent = "Remove";
    away.setAttribute("aria-label", `Remove ${video.name}`);
    away.addEventListener("click", () => remove(video));
    item.append(away);
  }
  return item;
}
