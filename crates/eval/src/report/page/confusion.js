// The confusion matrix as a heat map that is a table.

function confusion({ labels, confusion: matrix }) {
  const said = h("p", { class: "note", "aria-live": "polite" }, "Point at a cell, or walk with the arrow keys, to read it.");
  const sums = matrix.map((row) => row.reduce((sum, count) => sum + count, 0));
  const describe = (truth, guess) => {
    const count = matrix[truth][guess];
    const share = sums[truth] ? ` (${percent(count / sums[truth])} % of this class)` : "";
    said.textContent = `Is ${words(labels[truth])}, guessed ${words(labels[guess])}: ${whole(count)} of ${whole(sums[truth])} rows${share}.`;
  };
  const cells = matrix.map((row, truth) => row.map((count, guess) => {
    const share = sums[truth] ? count / sums[truth] : 0;
    const cell = h("td", {
      class: ["heat", share > 0.5 ? "strong" : "", truth === guess ? "same" : ""].join(" "),
      tabindex: truth === 0 && guess === 0 ? "0" : "-1",
      mouseenter: () => describe(truth, guess), focus: () => describe(truth, guess),
      keydown: (event) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        const next = step && cells[truth + step[0]]?.[guess + step[1]];
        if (!next) return;
        event.preventDefault();
        cell.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      },
    }, count > 0 ? String(count) : "");
    cell.style.setProperty("--share", share.toFixed(3));
    return cell;
  }));
  return h("div", {},
    h("p", { class: "note" }, "Rows: the image's class. Columns: the guard's most probable class, by number. Colour: share of the row."),
    said,
    scrolling("Confusion matrix", h("table", { class: "confusion", id: "confusion" },
      h("thead", {}, h("tr", {}, h("td"), labels.map((label, at) => h("th", { scope: "col", title: words(label) }, String(at))))),
      h("tbody", {}, cells.map((row, truth) => h("tr", {}, h("th", { scope: "row" }, `${truth} ${words(labels[truth])}`), row))))));
}
