// mASR by category: a radar for several runs, bars for one, and all figures as a table.

// The names in the order in which the runs have them.
const union = (lists) => [...new Set(lists.flat())];

function categoryTable(categories) {
  const value = (score) => h("td", { class: "number" }, score ? [percent(score.mASR), h("small", {}, `RR ${percent(score.RR)}`),
    h("small", {}, `${whole(score.rows)} rows`)] : "–");
  const rows = categories.flatMap((category) => {
    const parts = union(DATA.runs.map((run) => Object.keys(run.score.categories[category]?.subcategories ?? {})));
    const part = (name) => h("tr", {}, h("th", { scope: "row", class: "part" }, sentence(name)),
      DATA.runs.map((run) => value(run.score.categories[category]?.subcategories?.[name])));
    return [
      h("tr", { class: "whole" }, h("th", { scope: "row" }, sentence(category)), DATA.runs.map((run) => value(run.score.categories[category]))),
      ...(parts.length > 1 ? parts.map(part) : []),
    ];
  });
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "mASR, %"), DATA.runs.map((run) => h("th", { scope: "col", class: "number" }, run.name)))),
    h("tbody", {}, rows));
}

function categorySection() {
  const categories = union(DATA.runs.map((run) => Object.keys(run.score.categories)));
  if (categories.length === 0) return null;
  const initial = DATA.runs.length > 1 && categories.length > 2 ? "radar" : "bars";
  const place = h("div", { id: "categories" });
  state.watch(["hide", "chart"], () => {
    const shown = shownRuns();
    const masr = (run, category) => run.score.categories[category]?.mASR;
    const asRadar = state.oneOf("chart", ["radar", "bars"], initial) === "radar";
    place.replaceChildren(asRadar
      ? radar(categories, shown.map(({ run, index }) => ({ index, name: run.name, values: categories.map((category) => masr(run, category)) })))
      : barChart(categories.map((category) => ({
        title: sentence(category),
        bars: shown.map(({ run, index }) => ({ index, name: run.name, value: masr(run, category) })),
      }))));
  });
  return h("section", { "aria-labelledby": "categories-title" },
    h("h2", { id: "categories-title" }, "By category"),
    h("p", { class: "note" }, "mASR over the unsafe combinations of each category; smaller is better."),
    h("div", { class: "controls" }, choice("Show as", "chart", [["radar", "radar"], ["bars", "bars"]], initial)),
    place,
    h("details", {}, h("summary", {}, "All categories and subcategories as a table"), scrolling("mASR by category", categoryTable(categories))));
}
