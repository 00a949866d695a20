// A slider over the guard's threshold: counts and rates, and where it stands on both curves.

function thresholdPanel(runs) {
  const names = runs.map(({ run }) => run.name);
  const slider = h("input", {
    type: "range", min: "0", max: "1", step: "0.01", id: "threshold", "aria-describedby": "threshold-text",
    input: () => state.set("threshold", slider.value),
  });
  const shown = h("output", { for: "threshold", id: "threshold-value" });
  const figures = h("dl", { class: "figures" });
  const counts = h("tbody");
  const text = h("p", { class: "note", id: "threshold-text", role: "status" });
  const curves = h("div", { class: "columns", id: "curves" });

  const falseAlarms = (at) => {
    const safe = at.false_positives + at.true_negatives;
    return safe > 0 ? at.false_positives / safe : null;
  };
  // Points of a curve that exist, in the order of thresholds.
  const recallPrecision = ({ curve }) => curve.filter((at) => isNumber(at.recall) && isNumber(at.precision)).map((at) => [at.recall, at.precision]);
  const roc = ({ curve }) => curve.filter((at) => isNumber(at.recall) && isNumber(falseAlarms(at))).map((at) => [falseAlarms(at), at.recall]);

  const marked = (points, chosen, where) => [
    runs.filter((other) => other !== chosen).map(({ guard, index }) => line(points(guard), index, false)),
    line(points(chosen.guard), chosen.index),
    isNumber(where[0]) && isNumber(where[1])
      ? s("circle", { cx: plotX(where[0]), cy: plotY(where[1]), r: 6, class: "here", fill: colour(chosen.index) }) : null,
  ];

  state.watch(["guard", "threshold"], () => {
    const chosen = runs[names.indexOf(state.oneOf("guard", names, names[0]))];
    const { guard } = chosen;
    const own = guard.at_threshold.threshold;
    const asked = Number(state.get("threshold", String(own)));
    const wanted = Number.isFinite(asked) ? Math.min(1, Math.max(0, asked)) : own;
    const at = guard.curve.reduce((best, point) =>
      (Math.abs(point.threshold - wanted) < Math.abs(best.threshold - wanted) ? point : best), guard.curve[0] ?? guard.at_threshold);
    slider.value = String(at.threshold);
    shown.textContent = decimal(at.threshold);
    const figure = (name, value) => h("div", { "data-figure": name }, h("dt", {}, name), h("dd", {}, value));
    figures.replaceChildren(
      figure("Precision", `${percent(at.precision)} %`), figure("Recall", `${percent(at.recall)} %`),
      figure("F1", `${percent(at.f1)} %`), figure("False alarms", `${percent(falseAlarms(at))} %`));
    const row = (name, flagged, passed, right) => h("tr", {}, h("th", { scope: "row" }, name),
      h("td", { class: right === 0 ? "number right" : "number" }, whole(flagged)),
      h("td", { class: right === 1 ? "number right" : "number" }, whole(passed)));
    counts.replaceChildren(
      row("unsafe image", at.true_positives, at.false_negatives, 0),
      row("safe image", at.false_positives, at.true_negatives, 1));
    text.textContent = `The run's own threshold is ${decimal(own)}; the highest F1 on these rows is at ${decimal(guard.at_best_threshold.threshold)}.`;
    curves.replaceChildren(
      h("figure", {}, h("figcaption", {}, "Precision and recall"), plot({
        label: `Precision ${percent(at.precision)} %, recall ${percent(at.recall)} % at ${decimal(at.threshold)}`,
        x: "Recall", y: "Precision", children: marked(recallPrecision, chosen, [at.recall, at.precision]),
      })),
      h("figure", {}, h("figcaption", {}, "ROC"), plot({
        label: `Recall ${percent(at.recall)} %, false alarms ${percent(falseAlarms(at))} % at ${decimal(at.threshold)}`,
        x: "False alarms", y: "Recall",
        children: [s("path", { d: path([[0, 0], [1, 1]]), class: "diagonal" }), marked(roc, chosen, [falseAlarms(at), at.recall])],
      })));
  });

  return h("div", { class: "panel" },
    h("h3", {}, "Threshold"),
    h("div", { class: "slider" }, h("label", { for: "threshold" }, "Flag from this unsafe probability on"), slider, shown),
    text,
    h("div", { class: "side" }, figures,
      h("table", { class: "small", id: "threshold-counts" },
        h("thead", {}, h("tr", {}, h("td"), ["flagged", "passed"].map((name) => h("th", { scope: "col", class: "number" }, name)))), counts)),
    curves);
}
