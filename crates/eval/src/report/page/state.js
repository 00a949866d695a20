// What the reader chose. It lives in the address's fragment, so that a link shows the same view.

const state = (() => {
  const watchers = [];
  let values = new URLSearchParams(location.hash.slice(1));

  const tell = (changed) => {
    for (const [keys, run] of watchers) {
      if (!changed || keys.some((key) => changed.includes(key))) run();
    }
  };

  addEventListener("hashchange", () => {
    values = new URLSearchParams(location.hash.slice(1));
    tell();
  });

  return {
    get: (key, initial = "") => values.get(key) ?? initial,
    // The value if it is one of these: anyone may have written the address.
    oneOf: (key, allowed, initial) => (allowed.includes(values.get(key)) ? values.get(key) : initial),
    set(key, value, initial = "") {
      if (value === initial) values.delete(key);
      else values.set(key, value);
      try {
        history.replaceState(null, "", `#${values}`);
      } catch {
        // Safari refuses more than a hundred changes in half a minute; the page itself still follows.
      }
      tell([key]);
    },
    // Calls `run` whenever one of the keys changes; the first time when the page is whole.
    watch: (keys, run) => watchers.push([keys, run]),
    start: () => tell(),
  };
})();
