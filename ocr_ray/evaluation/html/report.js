// A click on the head of a column sorts its table, a second click reverses it; cells without a value stay last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = button.closest("table").tBodies[0];
    const column = head.cellIndex, sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.sort, rows = [...body.rows];
    const isNumeric = rows.every(row => !isNaN(key(row)));
    const compare = (x, y) => isNumeric ? x - y : x.localeCompare(y, undefined, { numeric: true });
    const order = (x, y) => (x === "") - (y === "") || sign * compare(x, y);
    body.append(...rows.sort((a, b) => order(key(a), key(b))));
  });
}
