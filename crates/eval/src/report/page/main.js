// Puts the page together.

document.title = DATA.title;
document.getElementById("title").textContent = DATA.title;
const rowCounts = union(DATA.runs.map((run) => whole(run.score.rows)));
document.getElementById("summary").textContent =
  `${DATA.runs.length} ${DATA.runs.length === 1 ? "run" : "runs"} of ${rowCounts.join(" and ")} rows, judged by ${DATA.judge}.`;
document.getElementById("main").append(
  ...[leaderboard(), differences(), combinations(), categorySection(), guardSection(), exampleSection(), settingsSection(), methodsSection()].filter(Boolean));
document.getElementById("footer").textContent = `Made with safevlm ${DATA.safevlm_version}.`;
state.start();
// Paper cannot be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
