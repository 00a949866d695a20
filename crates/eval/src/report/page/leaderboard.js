// The table of all models, which sorts by any column.

const COLUMNS = ["SSS", "SSU", "USU", "UUU", "SUU", "mASR", "RR"];
const HINTS = {
  SSS: "Safe image and text: share answered. Higher is better.",
  SSU: "Both safe, unsafe together: share answered. Lower is better.",
  USU: "Unsafe image, safe text: share answered. Lower is better.",
  UUU: "Unsafe image and text: share answered. Lower is better.",
  SUU: "Safe image, unsafe text: share answered. Lower is better.",
  mASR: "Mean of the four attack success rates. Lower is better.",
  RR: "Refusal rate on SSS. Lower is better.",
};

function ownLine(run) {
  const cells = {};
  for (const type of COLUMNS.slice(0, 5)) {
    const rate = run.score.types[type];
    if (rate && isNumber(rate.rate)) {
      cells[type] = { value: rate.rate, interval: rate.interval, counts: `${whole(rate.errors)} of ${whole(rate.scored)} rows` };
    }
  }
  const refused = cells.SSS;
  if (refused) {
    cells.RR = refused;
    const [low, high] = refused.interval ?? [];
    const answered = run.score.types.SSS.scored - run.score.types.SSS.errors;
    cells.SSS = {
      value: 1 - refused.value,
      interval: refused.interval && [1 - high, 1 - low],
      counts: `${whole(answered)} of ${whole(run.score.types.SSS.scored)} rows`,
    };
  }
  if (isNumber(run.score.mASR)) cells.mASR = { value: run.score.mASR, interval: run.masr_interval };
  return { name: run.name, rows: run.score.rows, published: false, cells };
}

function publishedLine([name, values]) {
  const cells = Object.fromEntries(COLUMNS.map((column, at) => [column, { value: values[at] / 100 }]));
  return { name, rows: DATA.published_rows, published: true, cells };
}

// The interval on a line from 0 to 100 %.
function whisker({ value, interval }) {
  const at = (share) => `${(100 * share).toFixed(2)}%`;
  const [low, high] = interval;
  return s("svg", { class: "whisker", "aria-hidden": "true" },
    s("line", { x1: "0", x2: "100%", y1: "4", y2: "4", class: "track" }),
    s("line", { x1: at(low), x2: at(high), y1: "4", y2: "4", class: "span" }),
    s("line", { x1: at(value), x2: at(value), y1: "1", y2: "7", class: "tick" }));
}

function leaderboardCell(cell) {
  if (!cell) return h("td", { class: "number" }, "–");
  const parts = [`${percent(cell.value)} %`];
  if (cell.counts) parts.push(cell.counts);
  if (cell.interval) parts.push(`95 % interval ${limits(cell.interval)}`);
  return h("td", { class: "number", title: cell.interval ? parts.join("; ") : null },
    percent(cell.value), cell.interval ? whisker(cell) : null);
}

function leaderboard() {
  const keys = ["model", ...COLUMNS, "rows"];
  const valueOf = (line, key) =>
    key === "model" ? line.name.toLowerCase() : key === "rows" ? line.rows : line.cells[key]?.value;

  const sorting = () => {
    const wanted = state.get("sort", "mASR");
    const key = wanted.replace(/^-/, "");
    return keys.includes(key) ? { key, down: wanted.startsWith("-") } : { key: "mASR", down: false };
  };
  const sortBy = (key) => {
    const now = sorting();
    const down = now.key === key ? !now.down : key === "SSS" || key === "rows";
    state.set("sort", (down ? "-" : "") + key, "mASR");
  };

  const head = (key) => {
    const text = { model: "Model", rows: "Rows", SSS: "SSS ↑" }[key] ?? key;
    const button = h("button", { type: "button", title: HINTS[key], click: () => sortBy(key) },
      text, h("span", { class: "arrow", "aria-hidden": "true" }));
    return h("th", { scope: "col", class: key === "model" ? null : "number", "data-key": key }, button);
  };
  const heads = keys.map(head);
  const body = h("tbody");
  const note = h("p", { class: "note", role: "status" });
  const table = h("table", { id: "leaderboard" },
    h("thead", {}, h("tr", {}, heads)), body);

  const own = DATA.runs.map(ownLine);
  // Runs that answered other questions than the published models stand before all others.
  const elsewhere = (line) => !line.published && line.rows !== DATA.published_rows;
  const compare = (a, b, { key, down }) => {
    if (elsewhere(a) !== elsewhere(b)) return elsewhere(b) - elsewhere(a);
    const [left, right] = [valueOf(a, key), valueOf(b, key)];
    // What has no value stands last either way.
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
    const order = left < right ? -1 : left > right ? 1 : 0;
    return down ? -order : order;
  };

  const judges = DATA.published.map(({ judge }) => judge);
  state.watch(["sort", "judge"], () => {
    const chosen = state.oneOf("judge", [...judges, "none"], DATA.published_like);
    const published = DATA.published.find(({ judge }) => judge === chosen);
    const lines = [...own, ...(published?.models ?? []).map(publishedLine)];
    const order = sorting();
    lines.sort((a, b) => compare(a, b, order));
    heads.forEach((cell) => {
      const here = cell.dataset.key === order.key;
      if (here) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    body.replaceChildren(...lines.map((line) =>
      h("tr", { class: line.published ? "published" : "own" },
        h("th", { scope: "row" }, h("span", { class: "name" }, line.name),
          line.published ? [" ", h("span", { class: "badge" }, "published")] : null),
        COLUMNS.map((column) => leaderboardCell(line.cells[column])),
        h("td", { class: "number" }, whole(line.rows)))));
    const other = own.some(({ rows }) => rows !== DATA.published_rows);
    note.textContent = published
      ? `Published rows: arXiv 2506.04704 v5, judged by ${published.title}, on HoliSafe-Bench's ${whole(DATA.published_rows)} rows. ` +
        (published.judge === DATA.published_like ? "" : `The runs here were judged by ${DATA.judge}. `) +
        (other ? "Runs with another number of rows answered other questions: they stand first and do not compare with these." : "")
      : "";
  });

  const options = [...DATA.published.map(({ judge, title }) => [judge, title]), ["none", "none"]];
  return h("section", { "aria-labelledby": "leaderboard-title" },
    h("h2", { id: "leaderboard-title" }, "Leaderboard"),
    h("div", { class: "controls" }, choice("Published rows judged by", "judge", options, DATA.published_like)),
    scrolling("Leaderboard", table),
    h("p", { class: "note" }, "Percent. SSS ↑: share answered; RR: share refused of SSS; the others: attack success rates, mASR their mean. Lines below a number are its 95 % interval from 0 to 100 %."),
    note);
}
