// Chosen rows, which the reader filters.

const PAGE_OF_EXAMPLES = 20;

// Blurred until clicked, and again when clicked once more.
function picture(example) {
  if (example.picture === null) return h("div", { class: "no-picture", title: example.image }, "no picture");
  const image = h("img", { src: DATA.pictures[example.picture], alt: "" });
  const button = h("button", {
    type: "button", class: "picture", "aria-pressed": "false", "aria-label": `Show the picture of row ${example.id}`, title: example.image,
    click: () => button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false")),
  }, image);
  return button;
}

function exampleCard(example) {
  const { guard } = example;
  const judged = { right: "✓ right", wrong: "✗ wrong", unparsed: "? no verdict" }[example.outcome];
  const label = example.image_label === 0 ? "safe image" : "unsafe image";
  return h("article", { class: "example", "data-id": example.id, "data-run": example.run },
    picture(example),
    h("div", { class: "words" },
      h("p", { class: "facts" },
        h("span", { class: `outcome ${example.outcome}` }, judged),
        h("span", { class: "tag", title: TYPES[example.type][0] }, example.type),
        h("span", {}, `${words(example.category)} / ${words(example.subcategory)}`),
        h("span", {}, label),
        guard ? h("span", { class: guard.flagged ? "flag" : null, title: `most probable class: ${words(guard.label)}` },
          `guard: ${guard.flagged ? "flagged" : "passed"} ${decimal(guard.unsafe_probability)}, ${words(guard.label)}`) : null,
        DATA.runs.length > 1 ? h("span", { class: "run" }, swatch(example.run), DATA.runs[example.run].name) : null,
        h("span", { class: "id" }, `#${example.id}`)),
      h("p", { class: "query" }, example.query),
      h("p", { class: "answer", tabindex: example.answer.length > 500 ? "0" : null }, example.answer || "(empty answer)")));
}

function exampleSection() {
  const { examples } = DATA;
  if (examples.length === 0) return null;
  const names = DATA.runs.map((run) => run.name);
  const any = ["", "any"];
  const of = (values) => [any, ...values.map((value) => [value, words(value)])];
  const types = Object.keys(TYPES);
  const categories = union(examples.map((example) => example.category)).sort();
  const withGuard = examples.some((example) => example.guard);

  const search = h("input", { type: "search", placeholder: "text, subcategory or id", input: () => state.set("q", search.value) });
  state.watch(["q"], () => {
    // While it is typed in, the field is ahead of the state.
    if (document.activeElement !== search) search.value = state.get("q");
  });

  const matches = (example) => {
    const is = (key, allowed, value) => {
      const wanted = state.oneOf(key, allowed, "");
      return wanted === "" || wanted === value;
    };
    const text = state.get("q").trim().toLowerCase();
    return is("run", names, names[example.run])
      && is("type", types, example.type)
      && is("category", categories, example.category)
      && is("outcome", ["right", "wrong", "unparsed"], example.outcome)
      && is("flag", ["flagged", "passed"], example.guard && (example.guard.flagged ? "flagged" : "passed"))
      && (text === "" || String(example.id) === text
        || [example.query, example.answer, words(example.subcategory)].some((part) => part.toLowerCase().includes(text)));
  };

  const list = h("div", { id: "examples" });
  const count = h("p", { class: "note", role: "status", id: "example-count" });
  let most = PAGE_OF_EXAMPLES;
  const show = () => {
    const found = examples.filter(matches);
    const shown = found.slice(0, most);
    const rows = DATA.runs.reduce((sum, run) => sum + run.score.rows, 0);
    count.textContent = `${whole(found.length)} of ${whole(examples.length)} examples, which were chosen evenly from ${whole(rows)} rows.`
      + (found.length > shown.length ? ` The first ${shown.length} are shown.` : "");
    list.replaceChildren(...shown.map(exampleCard));
    more.hidden = found.length <= shown.length;
  };
  const more = h("button", { type: "button", class: "more", click: () => { most += PAGE_OF_EXAMPLES; show(); } }, "Show more");
  state.watch(["run", "type", "category", "outcome", "flag", "q"], () => {
    most = PAGE_OF_EXAMPLES;
    show();
  });

  return h("section", { "aria-labelledby": "examples-title" },
    h("h2", { id: "examples-title" }, "Examples"),
    DATA.pictures_note ? h("p", { class: "note" }, DATA.pictures_note) : null,
    h("div", { class: "controls" },
      names.length > 1 ? choice("Run", "run", [any, ...names.map((name) => [name, name])], "") : null,
      choice("Combination", "type", of(types), ""),
      choice("Category", "category", of(categories), ""),
      choice("Judged", "outcome", of(union(examples.map((example) => example.outcome)).sort()), ""),
      withGuard ? choice("Guard", "flag", of(["flagged", "passed"]), "") : null,
      h("label", { class: "field", "data-key": "q" }, h("span", {}, "Search"), search)),
    count, list, more);
}
