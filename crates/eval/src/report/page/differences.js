// The other runs against the first, row by row.

function differenceCell(difference) {
  if (!difference) return h("td", { class: "number" }, "–");
  const [low, high] = difference.interval;
  const signed = (share) => (share > 0 ? "+" : "") + percent(share).replace("-", "−");
  const clear = low > 0 || high < 0;
  return h("td", { class: "number" }, clear ? h("strong", {}, signed(difference.difference)) : signed(difference.difference),
    h("small", {}, `${signed(low)} to ${signed(high)}`), h("small", {}, `p ${difference.p_value < 0.001 ? "< 0.001" : decimal(difference.p_value, 3)}`));
}

function differences() {
  if (DATA.comparisons.length === 0) return null;
  const types = Object.keys(TYPES);
  const heads = ["Run", "SSS refused", ...types.slice(1), "mASR", "Rows"];
  return h("section", { "aria-labelledby": "differences-title" },
    h("h2", { id: "differences-title" }, "Differences from ", h("span", { class: "name" }, DATA.runs[0].name)),
    h("p", { class: "note" }, "Percentage points on the rows that both have; below zero is fewer errors than the first run. Paired bootstrap, 95 % intervals; bold where they leave out zero."),
    scrolling("Differences", h("table", { id: "differences" },
      h("thead", {}, h("tr", {}, heads.map((text, at) => h("th", { scope: "col", class: at ? "number" : null }, text)))),
      h("tbody", {}, DATA.comparisons.map((found) => h("tr", {},
        h("th", { scope: "row" }, h("span", { class: "name" }, DATA.runs[found.run].name)),
        [...types.map((type) => found.types[type]), found.mASR].map(differenceCell),
        h("td", { class: "number" }, whole(found.rows))))))));
}
