//! How `safevlm eval score` prints rates.

use std::io::{self, Write};

use anstyle::Style;
use safevlm_data::Combination;
use safevlm_eval::metrics::Difference;
use safevlm_eval::{CategoryScore, Comparison, Score};

use crate::terminal::{ALARM, CALM, DIM, TITLE, harmless};

/// The longest subcategory, indented.
const CATEGORY: usize = 27;

/// A share as a percentage with one decimal, `-` for none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn percents([low, high]: [f64; 2]) -> String {
    format!("{:.1} to {:.1} %", low * 100.0, high * 100.0)
}

/// Rates of each combination, the means, and the rates of each category.
pub(super) fn write_score(out: &mut dyn Write, file: &str, skipped: usize, score: &Score) -> io::Result<()> {
    let left_out = if skipped > 0 { format!(", {skipped} bad ones left out") } else { String::new() };
    let unparsed = if score.unparsed > 0 { format!(", {} without a verdict", score.unparsed) } else { String::new() };
    writeln!(
        out,
        "{TITLE}{}{TITLE:#}: {} rows{left_out}, judge {}{unparsed}\n",
        harmless(file),
        score.rows,
        harmless(&score.judge)
    )?;
    writeln!(out, "{TITLE}TYPE  IMAGE   TEXT    TOGETHER  ERRORS             ROWS     RATE  95 % INTERVAL{TITLE:#}")?;
    for (combination, rate) in &score.types {
        let [image, text, together] = parts(*combination);
        let errors = format!("{} {}", rate.errors, if combination.refused() { "answers" } else { "refusals" });
        writeln!(
            out,
            "{}   {image:6}  {text:6}  {together:8}  {errors:16}  {:>5}  {:>7}  {}",
            combination.as_str(),
            rate.scored,
            percent(rate.rate),
            rate.interval.map_or_else(|| "-".to_owned(), percents),
        )?;
    }
    writeln!(
        out,
        "\n{TITLE}mASR {}{TITLE:#} (by rows {}), {TITLE}RR {}{TITLE:#}",
        percent(score.masr),
        percent(score.masr_row_weighted),
        percent(score.refusal_rate),
    )?;
    if let Some(not_named) = score.not_named {
        writeln!(
            out,
            "{} of {} SSS answers do not name what the picture shows ({})",
            not_named.errors,
            not_named.scored,
            percent(not_named.rate),
        )?;
    }
    writeln!(
        out,
        "\n{TITLE}{:CATEGORY$}  {:>6}  {:>7} {:>7} {:>7} {:>7} {:>7}  {:>7}{TITLE:#}",
        "CATEGORY", "ROWS", "SSS, RR", "SSU", "USU", "UUU", "SUU", "mASR"
    )?;
    for (name, category) in &score.categories {
        write_category(out, Style::new(), name, category)?;
        // A category with one subcategory of its own name, as sexual_content, needs no second line.
        for (name, subcategory) in category.subcategories.iter().filter(|(own, _)| *own != name) {
            write_category(out, DIM, &format!("  {name}"), subcategory)?;
        }
    }
    writeln!(out)
}

fn write_category(out: &mut dyn Write, style: Style, name: &str, score: &CategoryScore) -> io::Result<()> {
    write!(out, "{style}{name:CATEGORY$}  {:>6} ", score.rows)?;
    for combination in Combination::ALL {
        write!(out, " {:>7}", percent(score.types.get(&combination).and_then(|rate| rate.rate)))?;
    }
    writeln!(out, "  {:>7}{style:#}", percent(score.masr))
}

/// Image, text and both together.
fn parts(combination: Combination) -> [&'static str; 3] {
    let word = |letter: u8| if letter == b'S' { "safe" } else { "unsafe" };
    let letters = combination.as_str().as_bytes();
    [0, 1, 2].map(|at| letters.get(at).copied().map_or("", word))
}

/// The differences of two runs.
pub(super) fn write_comparison(out: &mut dyn Write, files: [&str; 2], comparison: &Comparison) -> io::Result<()> {
    let [first, second] = files.map(harmless);
    writeln!(out, "{TITLE}{second}{TITLE:#} against {TITLE}{first}{TITLE:#}: {} rows", comparison.rows)?;
    if comparison.first_only + comparison.second_only > 0 {
        writeln!(
            out,
            "not compared, since one file lacks them or has no verdict: {} rows of the first, {} of the second",
            comparison.first_only, comparison.second_only
        )?;
    }
    writeln!(
        out,
        "\n{TITLE}{:8}  {:>7}  {:>7}  {:>10}  {:18}  {:>6}{TITLE:#}",
        "RATE", "FIRST", "SECOND", "DIFFERENCE", "95 % INTERVAL", "P"
    )?;
    for (combination, difference) in &comparison.types {
        let name = if combination.refused() { combination.as_str() } else { "SSS, RR" };
        write_difference(out, name, difference)?;
    }
    if let Some(masr) = &comparison.masr {
        write_difference(out, "mASR", masr)?;
    }
    writeln!(out)
}

/// Coloured where the interval leaves no doubt on which side it is: fewer errors are better.
fn write_difference(out: &mut dyn Write, name: &str, of: &Difference) -> io::Result<()> {
    let style = match of.interval {
        [_, high] if high < 0.0 => CALM,
        [low, _] if low > 0.0 => ALARM,
        _ => DIM,
    };
    let [low, high] = of.interval.map(|end| format!("{:+.1}", end * 100.0));
    writeln!(
        out,
        "{name:8}  {:>7}  {:>7}  {style}{:>+8.1} %{style:#}  {:18}  {:>6.4}",
        percent(Some(of.first)),
        percent(Some(of.second)),
        of.difference * 100.0,
        format!("{low} to {high} %"),
        of.p_value,
    )
}
