(() => {
  const said = document.querySelector(".tools .said");
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy).textContent;
      try {
        await navigator.clipboard.writeText(text);
      } catch { // no permission, or an old browser
        const area = document.body.appendChild(document.createElement("textarea"));
        area.value = text;
        area.select();
        document.execCommand("copy");
        area.remove();
      }
      said.textContent = `${button.textContent} copied`;
    });
  }
  // By numbers where all cells begin with one; a third click gives back the first order, with the heads of blocks.
  const value = (cell) => cell?.dataset.sort ?? cell?.textContent.trim() ?? "";
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    table.order ??= [...body.rows];
    const rows = table.order.filter((row) => !row.classList.contains("head"));
    const cells = new Map(rows.map((row) => [row, value(row.cells[column])]));
    const numbers = [...cells.values()].every((text) => !text || text === "–" || !Number.isNaN(parseFloat(text)));
    const key = (row) => (numbers ? parseFloat(cells.get(row).replaceAll(",", "")) : cells.get(row).toLowerCase());
    const compare = (a, b) => {
      const [one, other] = [key(a), key(b)];
      if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other); // unknown ones last
      return direction * (one < other ? -1 : one > other ? 1 : 0);
    };
    body.replaceChildren(...(direction ? rows.sort(compare) : table.order));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    for (const [column, head] of heads.entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const first = head.classList.contains("n") ? "descending" : "ascending";
        const second = first === "ascending" ? "descending" : "ascending";
        const next = { [first]: second, [second]: "none" }[head.ariaSort] ?? first;
        for (const other of heads) other.ariaSort = "none";
        head.ariaSort = next;
        sort(table, column, { ascending: 1, descending: -1, none: 0 }[next]);
      });
    }
  }
  const dialog = document.getElementById("large");
  const frames = [...document.querySelectorAll(".frame")];
  let shown = -1;
  const show = (number) => {
    if (!frames[number]) return;
    shown = number;
    const own = frames[number].querySelector("img");
    const large = dialog.querySelector("img");
    [large.src, large.alt, dialog.querySelector("p").textContent] = [own.src, own.alt, own.alt];
    if (!dialog.open) dialog.showModal();
  };
  for (const [number, frame] of frames.entries()) frame.addEventListener("click", () => show(number));
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) show(shown + step);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
})();
