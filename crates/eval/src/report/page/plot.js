// A small square plot with both axes from 0 to 1.

const PLOT = { left: 44, top: 10, side: 260, bottom: 40 };

const plotX = (value) => PLOT.left + PLOT.side * value;
const plotY = (value) => PLOT.top + PLOT.side * (1 - value);
const path = (points) => points.map(([x, y], at) => `${at ? "L" : "M"}${plotX(x).toFixed(1)} ${plotY(y).toFixed(1)}`).join("");

function plot({ label, x, y, children }) {
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const { left, top, side, bottom } = PLOT;
  return s("svg", { viewBox: `0 0 ${left + side + 14} ${top + side + bottom}`, class: "plot", role: "img", "aria-label": label },
    ticks.map((tick) => s("g", {},
      s("line", { x1: plotX(tick), x2: plotX(tick), y1: top, y2: top + side, class: "grid" }),
      s("line", { x1: left, x2: left + side, y1: plotY(tick), y2: plotY(tick), class: "grid" }),
      s("text", { x: plotX(tick), y: top + side + 15, "text-anchor": "middle", class: "scale" }, String(tick)),
      s("text", { x: left - 5, y: plotY(tick) + 4, "text-anchor": "end", class: "scale" }, String(tick)))),
    s("text", { x: left + side / 2, y: top + side + 33, "text-anchor": "middle", class: "axis" }, x),
    s("text", { x: 0, y: 0, transform: `translate(11 ${top + side / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis" }, y),
    children);
}

const line = (points, index, strong = true) => s("path", {
  d: path(points), fill: "none", stroke: colour(index), "stroke-width": strong ? 2.5 : 1, "stroke-dasharray": strong ? "none" : dash(index),
  class: strong ? null : "faint",
});
