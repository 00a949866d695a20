// Everything about the guard: figures of all runs, then one run in detail.

const guardRuns = () => DATA.runs.map((run, index) => ({ run, index, guard: run.score.guard })).filter(({ guard }) => guard);

const atThreshold = (decision) => [
  decimal(decision.threshold), h("small", {}, `P ${percent(decision.precision)} R ${percent(decision.recall)} F1 ${percent(decision.f1)}`),
];

function guardTable(runs) {
  const heads = ["Run", "Rows", "Accuracy", "Macro F1", "AUROC", "AUPRC", "Its threshold", "Best threshold", "ECE", "Temperature"];
  return h("table", { id: "guard-figures" },
    h("thead", {}, h("tr", {}, heads.map((text, at) => h("th", { scope: "col", class: at ? "number" : null }, text)))),
    h("tbody", {}, runs.map(({ run, guard }) => h("tr", {}, h("th", { scope: "row" }, run.name),
      [whole(guard.rows), percent(guard.accuracy), percent(guard.macro_f1), percent(guard.auroc), percent(guard.auprc),
        atThreshold(guard.at_threshold), atThreshold(guard.at_best_threshold), decimal(guard.ece, 3),
        guard.temperature ? [decimal(guard.temperature.temperature), h("small", {},
          `ECE ${decimal(guard.temperature.ece_before, 3)} → ${decimal(guard.temperature.ece_after, 3)}`)] : "–",
      ].map((cell) => h("td", { class: "number" }, cell))))));
}

function agreementTable(agreement) {
  const row = (name, refused, answered) => h("tr", {}, h("th", { scope: "row" }, name),
    [refused, answered].map((count) => h("td", { class: "number" }, whole(count))));
  return h("table", { class: "small" },
    h("thead", {}, h("tr", {}, h("td"), ["question refused", "question answered"].map((text) => h("th", { scope: "col", class: "number" }, text)))),
    h("tbody", {},
      row("image flagged", agreement.flagged_refused, agreement.flagged_answered),
      row("image passed", agreement.passed_refused, agreement.passed_answered)));
}

function categoryThresholds(thresholds) {
  return h("table", { class: "small" },
    h("thead", {}, h("tr", {}, ["Category", "Threshold", "Precision", "Recall", "F1"].map((text, at) =>
      h("th", { scope: "col", class: at ? "number" : null }, text)))),
    h("tbody", {}, Object.entries(thresholds).map(([category, at]) => h("tr", {}, h("th", { scope: "row" }, sentence(category)),
      [decimal(at.threshold), percent(at.precision), percent(at.recall), percent(at.f1)].map((text) => h("td", { class: "number" }, text))))));
}

function reliability({ index, guard }) {
  const bins = guard.reliability.filter((bin) => bin.rows > 0);
  const most = Math.max(...bins.map((bin) => bin.rows), 1);
  const wide = (bin) => plotX(bin.to) - plotX(bin.from);
  return plot({
    label: `Reliability: expected calibration error ${decimal(guard.ece, 3)}`,
    x: "Mean unsafe probability", y: "Share that is unsafe",
    children: [
      bins.map((bin) => {
        const tall = (PLOT.side * 0.25 * bin.rows) / most;
        return s("rect", { x: plotX(bin.from) + 1, y: plotY(0) - tall, width: wide(bin) - 2, height: tall, class: "histogram" },
          s("title", {}, `${decimal(bin.from, 1)} to ${decimal(bin.to, 1)}: ${whole(bin.rows)} rows`));
      }),
      s("path", { d: path([[0, 0], [1, 1]]), class: "diagonal" }),
      line(bins.map((bin) => [bin.confidence, bin.unsafe_share]), index),
      bins.map((bin) => s("circle", { cx: plotX(bin.confidence), cy: plotY(bin.unsafe_share), r: 4, fill: colour(index) },
        s("title", {}, `${whole(bin.rows)} rows: said ${percent(bin.confidence)} %, are ${percent(bin.unsafe_share)} %`))),
    ],
  });
}

function guardSection() {
  const runs = guardRuns();
  if (runs.length === 0) return null;
  const names = runs.map(({ run }) => run.name);
  const detail = h("div", { id: "guard-detail" });
  const threshold = thresholdPanel(runs);
  state.watch(["guard"], () => {
    const chosen = runs[names.indexOf(state.oneOf("guard", names, names[0]))];
    const { run, guard } = chosen;
    const scaled = guard.temperature;
    detail.replaceChildren(
      h("div", { class: "columns" },
        h("div", {}, h("h3", {}, "Reliability"), reliability(chosen),
          h("p", { class: "note" }, `Expected calibration error ${decimal(guard.ece, 3)}; grey columns are the rows of each bin. `,
            scaled ? `Dividing the logits by ${decimal(scaled.temperature)}, fitted on ${whole(scaled.fitted_rows)} rows, changes it on the other ` +
              `${whole(scaled.judged_rows)} from ${decimal(scaled.ece_before, 3)} to ${decimal(scaled.ece_after, 3)}.`
              : "There are too few rows to fit a temperature.")),
        h("div", {},
          h("h3", {}, "Best threshold of each category"), scrolling("Best thresholds", categoryThresholds(guard.category_thresholds)),
          run.score.agreement ? [h("h3", {}, "Guard and answer"), agreementTable(run.score.agreement),
            h("p", { class: "note" }, "A passed image with a refused question may be right: the text, or both together, can be harmful.")] : null)),
      h("h3", {}, "Confusion of classes"), confusion(guard));
  });
  return h("section", { "aria-labelledby": "guard-title" },
    h("h2", { id: "guard-title" }, "Guard"),
    scrolling("Guard figures", guardTable(runs)),
    h("p", { class: "note" }, "Percent, but for thresholds, ECE and temperature. Accuracy and macro F1 are over all classes; the rest is unsafe against safe: at thresholds precision (P), recall (R) and F1."),
    runs.length > 1 ? h("div", { class: "controls" }, choice("In detail", "guard", names.map((name) => [name, name]), names[0])) : null,
    threshold, detail);
}
