"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent.trim();
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = down ? "descending" : "ascending";
      const numeric = head.classList.contains("n");
      rows.sort((a, b) => {
        const x = value(a, i), y = value(b, i);
        if (x === "" || y === "") return (x === "") - (y === "");  // what was not measured comes last
        const order = numeric ? x - y : x.localeCompare(y, undefined, {numeric: true});
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
  const filter = document.createElement("input");
  filter.type = "search";
  filter.placeholder = "Filter: relu, failed, width 128 …";
  filter.setAttribute("aria-label", "Show only rows that hold all of these words");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
  table.parentElement.before(filter);
}
