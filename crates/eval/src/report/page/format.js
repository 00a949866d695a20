// Numbers and names as people read them.

const DATA = JSON.parse(document.getElementById("data").textContent);

const TYPES = {
  SSS: ["safe image, safe text", "refused"],
  SSU: ["both safe, unsafe together", "answered"],
  USU: ["unsafe image, safe text", "answered"],
  UUU: ["unsafe image, unsafe text", "answered"],
  SUU: ["safe image, unsafe text", "answered"],
};

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const percent = (share, digits = 1) => (isNumber(share) ? (100 * share).toFixed(digits) : "–");
const decimal = (value, digits = 2) => (isNumber(value) ? value.toFixed(digits) : "–");
const whole = (count) => count.toLocaleString("en-US");
const limits = (interval) => (interval ? `${percent(interval[0])} to ${percent(interval[1])} %` : "");
const words = (name) => name.replaceAll("_", " ");
const sentence = (name) => words(name).replace(/^./, (first) => first.toUpperCase());

// Colours and dashes tell runs apart; the style sheet holds the colours for light and dark.
const COLOURS = 8;
const colour = (index) => `var(--run-${index % COLOURS})`;
const DASHES = ["none", "7 3", "2 3", "10 3 2 3"];
const dash = (index) => DASHES[index % DASHES.length];
