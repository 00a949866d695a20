// Bars with interval whiskers, as wide as the page lets them be.

const shareAt = (share, most) => `${Math.min(100, (100 * share) / most).toFixed(2)}%`;

function bar({ index, value, interval, most, text }) {
  const [low, high] = interval ?? [];
  return s("svg", { class: "bar", role: "img", "aria-label": text },
    s("rect", { x: "0", y: "0", width: "100%", height: "16", class: "track" }),
    isNumber(value) ? s("rect", { x: "0", y: "0", width: shareAt(value, most), height: "16", fill: colour(index) }) : null,
    interval ? [
      s("line", { x1: shareAt(low, most), x2: shareAt(high, most), y1: "8", y2: "8", class: "limit" }),
      s("line", { x1: shareAt(low, most), x2: shareAt(low, most), y1: "4", y2: "12", class: "limit" }),
      s("line", { x1: shareAt(high, most), x2: shareAt(high, most), y1: "4", y2: "12", class: "limit" }),
    ] : null);
}

// Groups of bars: {title, hint, bars: [{index, name, value, interval, detail}]}.
function barChart(groups, most = 1) {
  return h("div", { class: "bars" }, groups.map(({ title, hint, bars }) =>
    h("div", { class: "bar-group", role: "group", "aria-label": title },
      h("h3", {}, title, hint ? [" ", h("span", { class: "hint" }, hint)] : null),
      bars.map(({ index, name, value, interval, detail }) => {
        const number = `${percent(value)} %`;
        const text = [`${name}: ${number}`, detail, interval ? `95 % interval ${limits(interval)}` : null].filter(Boolean).join("; ");
        return h("div", { class: "bar-line", title: text },
          h("span", { class: "bar-name" }, name), bar({ index, value, interval, most, text }),
          h("span", { class: "bar-value" }, isNumber(value) ? number : "–"));
      }))));
}

function combinations() {
  const place = h("div", { id: "combinations" });
  state.watch(["hide"], () => {
    const types = Object.keys(TYPES).filter((type) => DATA.runs.some((run) => run.score.types[type]));
    place.replaceChildren(barChart(types.map((type) => ({
      title: `${type} ${TYPES[type][1]}`,
      hint: TYPES[type][0],
      bars: shownRuns().map(({ run, index }) => {
        const rate = run.score.types[type];
        return {
          index, name: run.name, value: rate?.rate, interval: rate?.interval,
          detail: rate && `${whole(rate.errors)} of ${whole(rate.scored)} rows`,
        };
      }),
    }))));
  });
  const table = h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Run"), Object.keys(TYPES).map((type) =>
      h("th", { scope: "col", class: "number" }, `${type} ${TYPES[type][1]}`)), h("th", { scope: "col", class: "number" }, "mASR"))),
    h("tbody", {}, DATA.runs.map((run) => h("tr", {}, h("th", { scope: "row" }, run.name),
      Object.keys(TYPES).map((type) => {
        const rate = run.score.types[type];
        return h("td", { class: "number" }, rate ? [percent(rate.rate), h("small", {}, `${whole(rate.errors)}/${whole(rate.scored)}`),
          h("small", {}, limits(rate.interval))] : "–");
      }),
      h("td", { class: "number" }, percent(run.score.mASR), h("small", {}, limits(run.masr_interval)))))));
  return h("section", { "aria-labelledby": "combinations-title" },
    h("h2", { id: "combinations-title" }, "By combination of image and text"),
    h("p", { class: "note" }, "Errors: refusals where an answer was right (SSS), answers where a refusal was right (the others). Shorter is better; whiskers are 95 % Wilson intervals."),
    legend(), place,
    h("details", {}, h("summary", {}, "The same as a table"), scrolling("Errors by combination", table)));
}
