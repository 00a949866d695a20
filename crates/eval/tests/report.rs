//! What a report's three forms hold, and that nothing in the runs' texts gets out of its place.

mod sample;

use safevlm_eval::{EvalError, OfficialString, Report, ReportFormat, ReportOptions};
use sample::{HOSTILE, ROWS, Sample, between, read};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn embedded(page: &str) -> Value {
    serde_json::from_str(between(page, "<script type=\"application/json\" id=\"data\">", "</script>")).unwrap()
}

#[test]
fn the_page_holds_the_figures_as_json() {
    let sample = Sample::new();
    let data = embedded(&read(&sample.page()));
    assert_eq!(data["title"], format!("Sample {}", HOSTILE[2]));
    assert_eq!(data["judge"], "official-string");
    let runs = data["runs"].as_array().unwrap();
    assert_eq!(runs[0]["name"], format!("ours {}", HOSTILE[0]));
    assert_eq!(runs[1]["name"], "theirs");
    assert_eq!(runs[0]["info"]["device"], HOSTILE[4]);
    assert_eq!(runs[1]["info"], Value::Null);
    // Of 40 rows of each combination ours answers 20, theirs 36.
    for (run, errors) in runs.iter().zip([20, 36]) {
        assert_eq!(run["score"]["rows"], ROWS);
        assert_eq!(run["score"]["types"]["SUU"]["errors"], errors);
        let [low, high] = [0, 1].map(|at| run["masr_interval"][at].as_f64().unwrap());
        let masr = f64::from(errors) / 40.0;
        assert!(low < masr && masr < high && high - low < 0.2, "{low} {masr} {high}");
    }
    let compared = &data["comparisons"][0];
    assert_eq!((&compared["run"], &compared["rows"]), (&1.into(), &ROWS.into()));
    assert!((compared["mASR"]["difference"].as_f64().unwrap() - 0.4).abs() < 1e-9);
    assert_eq!(runs[0]["score"]["guard"]["labels"][19], HOSTILE[1]);
    assert_eq!(runs[1]["score"]["guard"], Value::Null);
    let published = data["published"].as_array().unwrap();
    assert_eq!(published.len(), 4);
    assert!(published.iter().all(|table| table["models"].as_array().unwrap().len() == 21));
}

#[test]
fn examples_cover_all_kinds_with_each_picture_once() {
    let sample = Sample::new();
    let data = embedded(&read(&sample.page()));
    let examples = data["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 100);
    for run in [0, 1] {
        for kind in ["SSS", "SSU", "USU", "UUU", "SUU"] {
            let of = |outcome: &str| {
                examples.iter().filter(|e| e["run"] == run && e["type"] == kind && e["outcome"] == outcome).count()
            };
            assert!(of("right") >= 4, "{run} {kind}");
            assert_eq!(of("wrong") >= 4, kind != "SSS", "{run} {kind}");
        }
    }
    // One picture, of 96 x 48 pixels. The bench of ours is found by its hash; theirs names none.
    let pictures = data["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 1);
    assert!(pictures[0].as_str().unwrap().starts_with("data:image/jpeg;base64,"));
    let seen = |run: u64| examples.iter().filter(|e| e["run"] == run).all(|e| e["picture"] == 0 || e["id"] == 7);
    assert!(seen(0) && !seen(1));
    let note = data["pictures_note"].as_str().unwrap();
    assert!(note.contains("--images") || note.contains("missing.png"), "{note}");
    assert!(examples.iter().all(|e| e["answer"].as_str().unwrap().chars().count() < 2100), "answers are shortened");
}

#[test]
fn pictures_that_are_named_must_be_there() {
    let sample = Sample::new();
    let options =
        |images: &str| ReportOptions { examples: 400, images: Some(sample.path(images)), ..ReportOptions::default() };
    let of = |images: &str| Report::of_files(&sample.runs(), &mut OfficialString, &options(images), &mut |_| {});
    let report = of("bench/images").unwrap();
    assert!(report.examples.iter().all(|example| example.picture.is_some() || example.id == 7));
    assert!(report.pictures_note.contains("missing.png"), "{}", report.pictures_note);
    assert!(of("nowhere").unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn hostile_texts_stay_inside_the_data() {
    let sample = Sample::new();
    let page = read(&sample.page());
    // The page's own two script elements, and none that a text opened or closed.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<img") && !page.contains("<!--"));
    assert!(!page.contains(['\u{2028}', '\u{2029}']));
    let data = between(&page, "id=\"data\">", "</script>");
    assert!(!data.contains('<'));
    let answers: Vec<String> =
        embedded(&page)["examples"].as_array().unwrap().iter().map(|e| e["answer"].to_string()).collect();
    assert!(answers.iter().any(|answer| answer.contains("</script><script>")), "they are shown as they are");
}

#[test]
fn the_page_connects_to_nothing() {
    let sample = Sample::new();
    let page = read(&sample.page());
    let policy = between(&page, "http-equiv=\"Content-Security-Policy\" content=\"", "\"");
    assert!(policy.starts_with("default-src 'none'; img-src data:; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    // Only the name of SVG's elements looks like an address; it is never fetched.
    let code = page.replace(between(&page, "id=\"data\">", "</script>"), "").replace("http://www.w3.org/2000/svg", "");
    for word in
        ["http:", "https:", "//cdn", "src=\"", "href", "@import", "url(", "fetch(", "XMLHttp", "innerHTML", "eval("]
    {
        assert!(!code.contains(word), "{word}");
    }
    // The hashes are those of what stands there.
    use base64::Engine;
    for (before, after) in [("<style>", "</style>"), ("</script>\n<script>", "</script>")] {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(between(&page, before, after)));
        assert!(policy.contains(&hash), "{before}");
    }
}

#[test]
fn markdown_and_csv_have_a_line_for_every_model() {
    let sample = Sample::new();
    let report = sample.report(0);
    let markdown = report.render(ReportFormat::Markdown);
    assert_eq!(markdown.matches("*(published)*").count(), 21);
    assert!(markdown.contains("| **theirs** | 200 | 100.0 | 90.0 | 90.0 | 90.0 | 90.0 | 90.0 | 0.0 |"), "{markdown}");
    assert!(markdown.contains("| theirs | 0.0 [0.0, 8.8] 0/40 | 90.0 [76.9, 96.0] 36/40 |"), "{markdown}");
    // On 16 rows of each unsafe combination ours refuses alone, on 4 both.
    let difference = between(&markdown, "## Differences from ours", "## mASR");
    assert!(difference.contains("| theirs | +0.0 [+0.0, +0.0] | +40.0 [+"), "{difference}");
    assert!(markdown.contains("## Guard") && markdown.contains("not recorded"));
    assert!(!markdown.replace("\\<", "").contains('<'), "no text is markup");

    let csv = report.render(ReportFormat::Csv);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 2 + 21);
    assert!(lines[0].starts_with("model,source,judge,rows,unparsed,SSS_rate,SSS_low,"), "{}", lines[0]);
    assert!(csv.contains("\ntheirs,run,official-string,200,0,0.000000,"), "{csv}");
    assert!(csv.contains("\nGPT-4o,published,String matching,4031,,0.019,,,,,0.593,"), "{csv}");
}

#[test]
fn the_ending_says_the_form() {
    let sample = Sample::new();
    let report = sample.report(0);
    for name in ["a.html", "a.HTM", "a.md", "a.csv"] {
        assert_eq!(report.write(&sample.path(name)).unwrap(), read(&sample.path(name)).len());
    }
    let error = report.write(&sample.path("a.pdf")).unwrap_err();
    assert!(matches!(&error, EvalError::ReportFormat { .. }));
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("a.pdf") && error.to_string().contains(".html"), "{error}");
}
