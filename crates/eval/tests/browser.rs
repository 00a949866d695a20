//! The report's page in a real browser, without a window: what stands there when its scripts have run.

mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use sample::{HOSTILE, Sample, between};

/// Names of the same browser.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> PathBuf {
    if let Some(given) = std::env::var_os("CHROME") {
        return given.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    found
        .into_iter()
        .find(|path| path.is_file())
        .expect("there is no Chromium: install the Debian package `chromium`, or set CHROME")
}

/// The document after the scripts ran. Nothing may have been written to the console.
fn dom(page: &Path, fragment: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--virtual-time-budget=3000", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}{fragment}", page.display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(output.status.success(), "{log}");
    assert_eq!(console, Vec::<&str>::new());
    let dom = String::from_utf8(output.stdout).unwrap();
    let root = between(&dom, "<html", ">");
    assert!(!root.contains("hacked"), "a text was executed: {root}");
    // What is left is what a reader sees: neither style nor scripts.
    let style = between(&dom, "<style>", "</style>");
    let seen = dom.replace(style, "");
    seen[..seen.find("<script type=\"application/json\"").unwrap()].to_owned()
}

/// The models of the leaderboard, from the top.
fn models(dom: &str) -> Vec<String> {
    let table = between(dom, "<table id=\"leaderboard\"", "</table>");
    table.split("<span class=\"name\">").skip(1).map(|part| part[..part.find("</span>").unwrap()].to_owned()).collect()
}

/// Run and combination of the examples that are shown.
fn examples(dom: &str) -> Vec<(String, String)> {
    let cards = dom.split("<article class=\"example\"").skip(1);
    cards
        .map(|card| {
            (
                between(card, "data-run=\"", "\"").to_owned(),
                between(between(card, "class=\"tag\"", "/span>"), ">", "<").to_owned(),
            )
        })
        .collect()
}

fn figure<'a>(dom: &'a str, name: &str) -> &'a str {
    between(between(dom, &format!("data-figure=\"{name}\""), "</div>"), "<dd>", "</dd>")
}

#[test]
fn the_page_draws_itself_and_executes_no_text() {
    let sample = Sample::new();
    let dom = dom(&sample.page(), "");
    assert!(between(&dom, "<title>", "</title>").contains("Sample &lt;!--"));
    assert!(between(&dom, "id=\"summary\">", "<").contains("2 runs of 200 rows, judged by official-string"));
    for section in [
        "Leaderboard",
        "Differences from",
        "By combination",
        "By category",
        "Guard",
        "Examples",
        "Runs and their settings",
    ] {
        assert!(dom.contains(&format!("\">{section}")), "no section {section}");
    }
    let models = models(&dom);
    assert_eq!(models.len(), 23);
    // Runs on other rows than the published ones stand first.
    assert_eq!((models[2].as_str(), models[22].as_str()), ("SafeQwen2.5-VL-32B", "LLaVA-v1.5-7B"));
    assert_eq!(between(&dom, "<table id=\"leaderboard\"", "</table>").matches(">published<").count(), 21);
    assert!(between(&dom, "data-key=\"mASR\"", ">").contains("aria-sort=\"ascending\""));
    assert!(dom.contains("class=\"radar\"") && dom.contains("id=\"confusion\""));
    // Two runs in turn, twenty at first, blurred pictures where there are any.
    let examples = examples(&dom);
    assert_eq!(examples.len(), 20);
    assert_eq!((examples[0].0.as_str(), examples[1].0.as_str()), ("0", "1"));
    assert!(dom.contains("aria-pressed=\"false\"") && !dom.contains("aria-pressed=\"true\""));
    // Hostile names and settings are there, as text.
    assert!(dom.contains("ours &lt;/script&gt;&lt;script&gt;document"));
    assert!(dom.contains(&HOSTILE[1].replace('<', "&lt;").replace('>', "&gt;")));
}

#[test]
fn the_address_says_what_is_shown() {
    let sample = Sample::new();
    let page = sample.page();
    let dom = dom(&page, "#sort=-SSU&judge=gpt-4o&type=SSU&run=theirs&outcome=wrong&threshold=0.69&chart=bars&hide=1");
    let models = models(&dom);
    assert_eq!(models[2], "LLaVA-v1.5-7B");
    assert!(between(&dom, "data-key=\"SSU\"", ">").contains("aria-sort=\"descending\""));
    assert_eq!(dom.matches("aria-sort").count(), 1);
    assert!(dom.contains("judged by GPT-4o"));
    let examples = examples(&dom);
    assert!(!examples.is_empty());
    assert!(examples.iter().all(|(run, kind)| (run.as_str(), kind.as_str()) == ("1", "SSU")), "{examples:?}");
    assert!(!dom.contains("class=\"radar\""));
    assert_eq!(between(&dom, "id=\"combinations\"", "</section>").matches("class=\"bar-line\"").count(), 5);
    // The guard at 0.69, from the probabilities in `sample`.
    assert_eq!(between(&dom, "id=\"threshold-value\">", "<"), "0.69");
    let unsafe_ = |at: usize| at % 5 == 2 || at % 5 == 3;
    let flagged = |at: usize| (at * 37 % 100) as f32 / 100.0 * 0.6 + if unsafe_(at) { 0.4 } else { 0.0 } >= 0.69;
    let hits = (0..sample::ROWS).filter(|at| unsafe_(*at) && flagged(*at)).count();
    let all = (0..sample::ROWS).filter(|at| flagged(*at)).count();
    let positives = (0..sample::ROWS).filter(|at| unsafe_(*at)).count();
    assert_eq!(figure(&dom, "Precision"), format!("{:.1} %", 100.0 * hits as f64 / all as f64));
    assert_eq!(figure(&dom, "Recall"), format!("{:.1} %", 100.0 * hits as f64 / positives as f64));
    let counts = between(&dom, "id=\"threshold-counts\"", "</table>");
    assert!(counts.contains(&format!(">{hits}<")) && counts.contains(&format!(">{}<", positives - hits)), "{counts}");
}

#[test]
fn an_address_that_anyone_wrote_breaks_nothing() {
    let sample = Sample::new();
    let page = sample.page();
    let dom = dom(
        &page,
        "#sort=<img>&judge=none&type=XXX&threshold=1e9&guard=nobody&hide=a,,9&chart=x&q=%3Cscript%3Edocument",
    );
    let models = models(&dom);
    assert_eq!(models.len(), 2, "no published rows");
    assert!(models[0].starts_with("ours"), "by mASR");
    assert_eq!(between(&dom, "id=\"threshold-value\">", "<"), "1.00");
    let examples = examples(&dom);
    assert!(!examples.is_empty(), "the search is a plain text");
    let count = between(&dom, "id=\"example-count\">", " of 100 examples");
    assert!(count.parse::<usize>().unwrap() < 50, "{count}");
}
