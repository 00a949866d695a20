// A radar of several runs: one axis a category, the rim the largest round number that is needed.

// A name beside a point, one word a line.
function label(name, x, y, anchor) {
  const lines = name.split(" ");
  return s("text", { y: y + 4, "text-anchor": anchor, class: "axis" },
    lines.map((line, at) => s("tspan", { x, dy: at ? "1.1em" : `${(1 - lines.length) * 0.55}em` }, line)));
}

const RIMS = [0.05, 0.1, 0.25, 0.5, 1];

function radar(axes, series) {
  const [width, height, radius] = [520, 350, 140];
  const highest = Math.max(0, ...series.flatMap(({ values }) => values.filter(isNumber)));
  const rim = RIMS.find((rim) => rim >= highest) ?? 1;
  const point = (at, share) => {
    const angle = (2 * Math.PI * at) / axes.length - Math.PI / 2;
    const distance = (radius * share) / rim;
    return [width / 2 + distance * Math.cos(angle), height / 2 + distance * Math.sin(angle)];
  };
  const outline = (values) => values.map((value, at) => point(at, value ?? 0).map((x) => x.toFixed(1)).join(",")).join(" ");

  const rings = [0.25, 0.5, 0.75, 1].map((part) => s("g", {},
    s("polygon", { points: outline(axes.map(() => rim * part)), class: "ring" }),
    s("text", { x: width / 2 + 4, y: height / 2 - radius * part + 12, class: "scale" }, `${percent(rim * part, rim < 0.25 ? 1 : 0)} %`)));
  const spokes = axes.map((name, at) => {
    const [x, y] = point(at, rim);
    const [textX, textY] = point(at, rim * 1.08);
    const side = textX - width / 2;
    const anchor = Math.abs(side) < 12 ? "middle" : side > 0 ? "start" : "end";
    return s("g", {},
      s("line", { x1: width / 2, y1: height / 2, x2: x, y2: y, class: "ring" }),
      label(sentence(name), textX, textY, anchor));
  });
  const shapes = series.map(({ index, name, values }) => s("g", { "data-run": index },
    s("title", {}, `${name}: ${axes.map((axis, at) => `${words(axis)} ${percent(values[at])} %`).join(", ")}`),
    s("polygon", { points: outline(values), fill: colour(index), stroke: colour(index), "stroke-dasharray": dash(index), class: "shape" }),
    values.map((value, at) => {
      const [x, y] = point(at, value ?? 0);
      return isNumber(value) ? s("circle", { cx: x, cy: y, r: 3.2, fill: colour(index) }) : null;
    })));
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "radar", role: "img", "aria-label": "mASR by category; the table below has the figures" },
    rings, spokes, shapes);
}
