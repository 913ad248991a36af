"use strict";
(() => {
  // Curves that are not chosen are faint, and what shows one method alone gives way: style.css reads the two values.
  const boxes = [...document.querySelectorAll("[name=curve]")];
  const most = Number(document.currentScript.dataset.most);
  const rules = document.head.appendChild(document.createElement("style"));
  const choose = (changed) => {
    for (const box of boxes) if (box.value === changed?.value) box.checked = changed.checked;
    const methods = new Map(boxes.map((box) => [box.value, box.checked]));
    const off = [...methods.keys()].filter((name) => !methods.get(name));
    const full = methods.size - off.length >= most;
    for (const box of boxes) box.disabled = full && !box.checked;
    for (const note of document.querySelectorAll(".legend .many")) {
      note.hidden = methods.size <= most;
      note.textContent =
        `${methods.size - off.length} of ${methods.size} methods chosen` +
        (full ? `, as many as can be told apart: leave one out to choose another.` : `, at most ${most}.`);
    }
    const names = off.map((name) => `.m-${name}, [data-method="${name}"]`).join();
    rules.textContent = names && `${names} { --strength: 0.14; --alone: none; }`;
  };
  for (const box of boxes) box.addEventListener("change", () => choose(box));
  choose();
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
