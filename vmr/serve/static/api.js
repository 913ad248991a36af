// Requests to our own server; what goes wrong becomes an Error with a sentence for the visitor.

const GONE = "The server does not answer. Is it still running?";

export async function request(path, options = {}) {
  const response = await answerOf(path, options);
  return content(response.status, await response.text());
}

// A file that the server makes, for the visitor's folder of downloads.
export async function download(path, name) {
  const response = await answerOf(path);
  if (!response.ok) content(response.status, await response.text());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function answerOf(path, { method = "GET", json, signal } = {}) {
  const options = { method, signal, headers: {} };
  if (json !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(json);
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(GONE);
  }
}

// XMLHttpRequest tells how far an upload is; fetch does not.
export function upload(file, { signal, progress }) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", `/api/videos?name=${encodeURIComponent(file.name)}`);
    sending.setRequestHeader("content-type", "application/octet-stream");
    sending.upload.onprogress = (event) => progress(event.loaded, event.total);
    sending.onload = () => {
      try {
        resolve(content(sending.status, sending.responseText));
      } catch (error) {
        reject(error);
      }
    };
    sending.onerror = () => reject(new Error(`${file.name}: the server broke the upload off. Try again.`));
    sending.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    });
  });
}

function content(status, text) {
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    // A proxy's page, or none at all: the status has to do.
  }
  if (status >= 400 || value === null) {
    const lost = "This page has lost its token: open the address that vmr serve printed again.";
    throw new Error(value?.error ?? (status === 401 ? lost : `The server answered with error ${status}.`));
  }
  return value;
}
