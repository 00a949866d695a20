//! A report as one page that needs nothing else: no network, no other file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::Report;

/// The page, with `%%NAME%%` where something belongs.
const PAGE: &str = include_str!("page/page.html");

const STYLE: &str = include_str!("page/page.css");

/// One script of several files: what comes later uses what comes before.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("page/dom.js"),
    include_str!("page/state.js"),
    include_str!("page/format.js"),
    include_str!("page/leaderboard.js"),
    include_str!("page/differences.js"),
    include_str!("page/legend.js"),
    include_str!("page/bars.js"),
    include_str!("page/radar.js"),
    include_str!("page/categories.js"),
    include_str!("page/plot.js"),
    include_str!("page/guard.js"),
    include_str!("page/threshold.js"),
    include_str!("page/confusion.js"),
    include_str!("page/examples.js"),
    include_str!("page/settings.js"),
    include_str!("page/main.js"),
    "})();\n"
);

/// The page. Nothing of the report is markup in it: the data is JSON that the script puts in as text. The policy lets
/// the page run this script only, and connect to nothing.
pub(super) fn page(report: &Report) -> String {
    // Browsers read line ends as "\n", and the hashes are of what they read.
    let style = STYLE.replace("\r\n", "\n");
    let script = SCRIPT.replace("\r\n", "\n");
    let policy = format!(
        "default-src 'none'; img-src data:; style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        hash(&style),
        hash(&script),
    );
    let data = json(report);
    let mut page = String::with_capacity(PAGE.len() + style.len() + script.len() + data.len());
    for (at, part) in PAGE.split("%%").enumerate() {
        page.push_str(match (at % 2, part) {
            (0, text) => text,
            (_, "policy") => &policy,
            (_, "style") => &style,
            (_, "data") => &data,
            (_, "script") => &script,
            (_, _) => "",
        });
    }
    page
}

/// JSON inside a script element. There `<` could end the element or begin a comment; in JSON it stands in strings only.
fn json(report: &Report) -> String {
    // Our own types have text keys and finite numbers; what could fail is nothing that a file decides.
    let json = serde_json::to_string(report).unwrap_or_else(|_| "null".to_owned());
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// As a Content-Security-Policy names a piece of text.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
