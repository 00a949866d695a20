//! The table: medians over the rounds, and ratios to SafeVLM.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::plan::OURS;

/// What became of a peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The measurements of the rounds so far.
    Measured(Vec<Value>),
    /// Why there are none.
    Missing(String),
}

/// One peer at one kind of work.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    job: String,
    model: String,
    peer: String,
    dtype: String,
    pub(crate) outcome: Outcome,
}

impl Row {
    pub(crate) fn new(job: &str, model: &str, peer: &str, dtype: &str) -> Self {
        let [job, model, peer, dtype] = [job, model, peer, dtype].map(str::to_owned);
        Self { job, model, peer, dtype, outcome: Outcome::Measured(Vec::new()) }
    }

    /// Takes the measurement of one more round.
    pub(crate) fn add(&mut self, found: &Value) {
        if let Outcome::Measured(rounds) = &mut self.outcome {
            rounds.push(found.clone());
        }
    }

    /// That number of each round; nothing where one of them lacks it.
    fn numbers(&self, key: &str) -> Vec<f64> {
        match &self.outcome {
            Outcome::Measured(rounds) => rounds.iter().map(|round| round[key].as_f64()).collect::<Option<_>>(),
            Outcome::Missing(_) => None,
        }
        .unwrap_or_default()
    }

    fn median(&self, key: &str) -> Option<f64> {
        median(self.numbers(key))
    }

    fn best(&self) -> Option<f64> {
        self.numbers("min_ms").into_iter().min_by(f64::total_cmp)
    }

    /// SafeVLM's row that this one is compared with: of equal type, or in f32 where there is none.
    fn against<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        if self.peer == OURS {
            return None;
        }
        let same_work = |row: &&Row| row.peer == OURS && row.job == self.job && row.model == self.model;
        let measured = |row: &&Row| row.median("median_ms").is_some();
        let of_type = |dtype: &str| rows.iter().find(|row| same_work(row) && row.dtype == dtype && measured(row));
        let quantized = self.dtype.starts_with('q');
        // Eight bits against thirty-two would say nothing.
        of_type(&self.dtype).or_else(|| if quantized { None } else { of_type("f32") })
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some((values[values.len() / 2] + values[last / 2]) / 2.0)
}

/// A section for each job and model.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut section = None;
    for row in rows {
        if section != Some((&row.job, &row.model)) {
            section = Some((&row.job, &row.model));
            let _ = write!(
                text,
                "{}## {}, {}\n\n| peer | weights | median | best | per second | peak memory | SafeVLM is |\n\
                 | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
                if text.is_empty() { "" } else { "\n" },
                row.job,
                row.model
            );
        }
        let _ = writeln!(text, "{}", line(row, rows));
    }
    text
}

fn line(row: &Row, rows: &[Row]) -> String {
    let head = format!("| {} | {} |", row.peer, row.dtype);
    let (Some(median), Some(best)) = (row.median("median_ms"), row.best()) else {
        let reason = match &row.outcome {
            Outcome::Missing(reason) => reason.replace('|', "/").replace('\n', " "),
            Outcome::Measured(_) => "not run".to_owned(),
        };
        return format!("{head} not measured: {reason} | | | | |");
    };
    let rate = [("tokens_per_second", "tokens"), ("images_per_second", "images")];
    let rate =
        rate.into_iter().find_map(|(key, unit)| Some(format!("{:.1} {unit}", row.median(key)?))).unwrap_or_default();
    // Decoding reads all weights for each token: memory sets its pace.
    let read = match (row.job.as_str(), row.median("gb_per_second"), row.median("limit_gb_per_second")) {
        ("decode", Some(read), Some(limit)) => format!(", {read:.1} GB/s ({:.0} %)", 100.0 * read / limit),
        _ => String::new(),
    };
    let memory = row.numbers("peak_rss_mb").into_iter().max_by(f64::total_cmp);
    let memory = memory.map_or(String::new(), |memory| format!("{memory:.0} MB"));
    let ratio = row.against(rows).and_then(|ours| {
        let against = if ours.dtype == row.dtype { String::new() } else { format!(" (ours in {})", ours.dtype) };
        Some(format!("{:.2} x as fast{against}", median / ours.median("median_ms")?))
    });
    format!("{head} {median:.1} ms | {best:.1} ms | {rate}{read} | {memory} | {} |", ratio.unwrap_or_default())
}

/// A Markdown list of the peers' versions.
pub(crate) fn versions(rows: &[Row]) -> String {
    let mut found = BTreeMap::new();
    for row in rows {
        let Outcome::Measured(rounds) = &row.outcome else { continue };
        for version in rounds.iter().filter_map(|round| round["version"].as_str()) {
            found.insert(row.peer.as_str(), version.to_owned());
        }
    }
    found.entry(OURS).or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
    let list: Vec<String> = found.iter().map(|(peer, version)| format!("{peer}: {version}")).collect();
    format!("- {}", list.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured(peer: &str, dtype: &str, medians: &[f64]) -> Row {
        let mut row = Row::new("decode", "smol", peer, dtype);
        for ms in medians {
            row.add(&json!({"median_ms": ms, "min_ms": ms - 1.0, "tokens_per_second": 64_000.0 / ms,
                            "peak_rss_mb": 500.0 + ms, "version": "1.2"}));
        }
        row
    }

    #[test]
    fn the_median_is_that_of_the_rounds() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0]), Some(5.0));
        assert_eq!(median(vec![900.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn ratios_are_of_equal_types_or_to_f32() {
        let mut missing = Row::new("decode", "smol", "candle", "f32");
        missing.outcome = Outcome::Missing("no | compiler\nhere".into());
        let rows = [
            measured(OURS, "f32", &[100.0, 120.0, 900.0]),
            measured("torch", "f32", &[240.0, 240.0, 10.0]),
            measured("torch", "bf16", &[60.0]),
            missing,
            measured(OURS, "q8_0", &[50.0]),
            measured("llama.cpp", "q8_0", &[75.0]),
            measured("llama.cpp", "q4_1", &[75.0]),
            Row::new("decode", "smol", "candle", "q8_0"),
        ];
        let text = markdown(&rows);
        let lines: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(text.lines().next(), Some("## decode, smol"));
        assert_eq!(lines[0], "| SafeVLM | f32 | 120.0 ms | 99.0 ms | 533.3 tokens | 1400 MB |  |");
        assert!(lines[1].ends_with("| 2.00 x as fast |"), "{}", lines[1]);
        assert!(lines[2].ends_with("| 0.50 x as fast (ours in f32) |"), "{}", lines[2]);
        assert_eq!(lines[3], "| candle | f32 | not measured: no / compiler here | | | | |");
        assert!(lines[5].ends_with("| 1.50 x as fast |"), "{}", lines[5]);
        // Nothing of ours has four bits here.
        assert!(lines[6].ends_with("MB |  |"), "{}", lines[6]);
        assert!(lines[7].contains("not run"));
        assert_eq!(versions(&rows), "- SafeVLM: 1.2; llama.cpp: 1.2; torch: 1.2");
    }

    #[test]
    fn work_of_different_models_is_not_compared() {
        let mut other = measured("torch", "f32", &[10.0]);
        other.model = "large".into();
        let rows = [measured(OURS, "f32", &[100.0]), other];
        assert_eq!(rows[1].against(&rows).map(|row| &row.dtype), None);
        assert_eq!(markdown(&rows).matches("## ").count(), 2);
    }
}
