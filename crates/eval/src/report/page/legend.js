// Which runs the charts show.

function hidden() {
  const names = state.get("hide").split(",");
  return DATA.runs.map((_, index) => names.includes(String(index)));
}

const shownRuns = () => {
  const off = hidden();
  return DATA.runs.map((run, index) => ({ run, index })).filter(({ index }) => !off[index]);
};

// A swatch with colour and dash, as the charts draw the run.
const swatch = (index) => s("svg", { class: "swatch", "aria-hidden": "true" },
  s("line", { x1: "1", x2: "23", y1: "6", y2: "6", stroke: colour(index), "stroke-width": "3", "stroke-dasharray": dash(index) }));

function legend() {
  const boxes = DATA.runs.map((_, index) => h("input", {
    type: "checkbox",
    change: () => {
      const off = boxes.flatMap((box, at) => (box.checked ? [] : [at]));
      state.set("hide", off.join(","));
    },
    "data-run": index,
  }));
  state.watch(["hide"], () => hidden().forEach((off, index) => { boxes[index].checked = !off; }));
  return h("fieldset", { class: "legend" }, h("legend", {}, "Runs in the charts"),
    DATA.runs.map((run, index) => h("label", {}, boxes[index], swatch(index), h("span", { class: "name" }, run.name))));
}
