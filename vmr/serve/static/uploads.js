// Files that are being sent, beside everything else that the visitor does.

import { upload } from "./api.js";
import { megabytes } from "./times.js";

const element = (id) => document.getElementById(id);

let sending = null; // AbortController

element("cancel").addEventListener("click", () => sending?.abort());

// The video as the server knows it; an Error with a sentence, or an AbortError when the visitor cancels.
export async function send(file, { endings, upload_bytes: most }) {
  const ending = file.name.includes(".") ? file.name.slice(file.name.lastIndexOf(".")).toLowerCase() : "";
  if (!endings.includes(ending)) {
    const kinds = endings.slice(0, 9).join(", ");
    throw new Error(`${file.name}: only video files are taken, whose names end in ${kinds} and the like.`);
  }
  if (file.size > most) {
    const size = megabytes(file.size);
    throw new Error(`${file.name} has ${size}; files of up to ${megabytes(most)} are taken. Cut or shrink it.`);
  }
  sending?.abort();
  const own = (sending = new AbortController());
  const progress = (done, total) => {
    element("sent").max = total;
    element("sent").value = done;
    element("sent-amount").textContent = `${megabytes(done)} of ${megabytes(total)}`;
  };
  progress(0, Math.max(file.size, 1));
  element("sending").hidden = false;
  try {
    return (await upload(file, { signal: own.signal, progress })).video;
  } finally {
    if (sending === own) {
      sending = null;
      element("sending").hidden = true;
    }
  }
}
