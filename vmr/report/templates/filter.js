"use strict";
(() => {
  const form = document.getElementById("filter");
  if (form) {
    const cases = [...document.querySelectorAll(".case")];
    const chosen = (id) => document.getElementById(id)?.value ?? "";
    const update = () => {
      const words = chosen("words").toLowerCase().split(/\s+/).filter(Boolean);
      const [kind, group] = [chosen("kind"), chosen("group")];
      let shown = 0;
      for (const one of cases) {
        const fits =
          words.every((word) => one.dataset.text.includes(word)) &&
          (!kind || one.dataset.kinds.split(" ").includes(kind)) &&
          (!group || one.dataset.group === group);
        one.hidden = !fits;
        shown += fits;
      }
      const off = new Set([...form.querySelectorAll("[name=method]:not(:checked)")].map((box) => box.value));
      for (const part of document.querySelectorAll(".lanes [data-method]")) part.hidden = off.has(part.dataset.method);
      document.getElementById("shown").textContent = `${shown} of ${cases.length} case studies`;
    };
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    update(); // A browser may have kept what was typed before.
  }
  const opened = new Set();
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.print-open:not([open])")) {
      part.open = true;
      opened.add(part);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const part of opened) part.open = false;
    opened.clear();
  });
})();
