// Elements. Text becomes text nodes and nothing else: no string of the data is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// An HTML element; a function among the attributes listens to the event of its name.
const h = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);

// An SVG element.
const s = (tag, attributes = {}, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

// A table in a box of its own that scrolls sideways where the screen is narrow.
const scrolling = (label, table) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);

// A labelled choice that lives in the page's state; options are [value, text].
function choice(label, key, options, initial) {
  const select = h("select", { change: () => state.set(key, select.value, initial) });
  select.append(...options.map(([value, text]) => h("option", { value }, text)));
  state.watch([key], () => {
    select.value = state.oneOf(key, options.map(([value]) => value), initial);
  });
  return h("label", { class: "field", "data-key": key }, h("span", {}, label), select);
}
