//! The curves of a run, from its log.

use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DrawingArea, IntoDrawingArea, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, Text, WHITE,
};
use serde::Deserialize;

use crate::error::TrainError;
use crate::learner::VALIDATION;

/// Steps whose mean is drawn, at most: a twentieth of the run.
const SMOOTH: usize = 50;

/// What is drawn of a line of the log.
#[derive(Deserialize)]
struct Line {
    step: usize,
    phase: String,
    language: Option<f64>,
    guard: Option<f64>,
    accuracy: Option<f64>,
}

/// Draws the losses and the guard's accuracy of the run in the folder `run` as an SVG to `out`.
///
/// # Errors
///
/// If the folder has no log, or `out` cannot be written.
pub fn plot(run: &Path, out: &Path) -> Result<(), TrainError> {
    let log = run.join("log.jsonl");
    let bad = |reason: String| TrainError::Log { path: log.clone(), reason };
    let text = std::fs::read_to_string(&log).map_err(|error| bad(error.to_string()))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>();
    let mut lines = lines.map_err(|error| bad(error.to_string()))?;
    // A run that was killed repeats the steps behind its checkpoint: the later ones count.
    lines.reverse();
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| seen.insert((line.step, line.phase == VALIDATION)));
    lines.sort_by_key(|line| line.step);
    if lines.is_empty() {
        return Err(bad("it has no steps".to_owned()));
    }
    let written = |error: Box<dyn std::error::Error>| TrainError::Write {
        path: PathBuf::from(out),
        source: std::io::Error::other(error.to_string()),
    };
    draw(out, &lines).map_err(written)
}

fn draw(out: &Path, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(out, (1000, 640)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(400);
    let losses: [Curve; 2] = [("answers", BLUE, |line| line.language), ("guard", ORANGE, |line| line.guard)];
    panel(&upper, lines, "loss", &losses, None)?;
    panel(&lower, lines, "accuracy", &[("guard", ORANGE, |line| line.accuracy)], Some(1.0))?;
    root.present()?;
    Ok(())
}

/// A curve's name and colour, and its value in a line.
type Curve = (&'static str, RGBColor, fn(&Line) -> Option<f64>);

/// Two of Okabe and Ito's colours, which people tell apart who see fewer.
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    lines: &[Line],
    what: &str,
    curves: &[Curve],
    top: Option<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let last = lines.last().map_or(1, |line| line.step).max(2);
    let values = lines.iter().flat_map(|line| curves.iter().filter_map(|(_, _, value)| value(line)));
    let most = top.unwrap_or_else(|| values.filter(|value| value.is_finite()).fold(0.1, f64::max));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(1..last, 0.0..most * 1.05)?;
    let style = ("sans-serif", 14);
    chart.configure_mesh().light_line_style(WHITE).x_desc("step").y_desc(what).label_style(style).draw()?;
    let (measured, learned): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|line| line.phase == VALIDATION);
    // Where each phase begins.
    for pair in learned.windows(2).filter(|pair| pair[0].phase != pair[1].phase) {
        let grey = RGBColor(150, 150, 150);
        chart.draw_series(LineSeries::new([(pair[1].step, 0.0), (pair[1].step, most * 1.05)], grey))?;
        chart.draw_series([Text::new(pair[1].phase.clone(), (pair[1].step + last / 100, most), style)])?;
    }
    for (name, colour, value) in curves {
        let mut labelled = false;
        // Phases are not smoothed into one another.
        for phase in learned.chunk_by(|a, b| a.phase == b.phase) {
            let points: Vec<(usize, f64)> = phase.iter().filter_map(|line| Some((line.step, value(line)?))).collect();
            let smooth = smoothed(&points, (last / 20).clamp(1, SMOOTH));
            if points.is_empty() {
                continue;
            }
            let drawn = chart.draw_series(LineSeries::new(smooth, colour.stroke_width(2)))?;
            if !std::mem::replace(&mut labelled, true) {
                let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
                drawn.label(*name).legend(legend);
            }
        }
        let points = measured.iter().filter_map(|line| Some((line.step, value(line)?)));
        chart.draw_series(points.map(|point| Circle::new(point, 4, colour.filled())))?;
    }
    let place = if top.is_some() { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight };
    chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).label_font(style).draw()?;
    Ok(())
}

/// Each value as the mean of those up to it, of `window` at most.
fn smoothed(points: &[(usize, f64)], window: usize) -> Vec<(usize, f64)> {
    let mean = |nth: usize| {
        let part = &points[(nth + 1).saturating_sub(window)..=nth];
        (points[nth].0, part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64)
    };
    (0..points.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_what_the_log_has() {
        let run = tempfile::tempdir().unwrap();
        let out = run.path().join("curves.svg");
        let error = plot(run.path(), &out).unwrap_err().to_string();
        assert!(error.contains("log.jsonl"), "{error}");
        let line = |step: usize, phase: &str, guard: f64| {
            format!(r#"{{"step":{step},"phase":"{phase}","loss":1,"language":2.0,"guard":{guard},"accuracy":0.5}}"#)
        };
        let lines = [line(1, "first", 3.0), line(2, "first", 9.0), line(2, "first", 1.0), line(3, "second", 1.0)];
        let measured = line(2, VALIDATION, 2.0);
        std::fs::write(run.path().join("log.jsonl"), format!("{}\n{measured}\n", lines.join("\n"))).unwrap();
        plot(run.path(), &out).unwrap();
        let svg = std::fs::read_to_string(&out).unwrap();
        for wanted in ["answers", "guard", "accuracy", "second", "<circle"] {
            assert!(svg.contains(wanted), "{wanted}");
        }
        std::fs::write(run.path().join("log.jsonl"), "{\n").unwrap();
        assert!(plot(run.path(), &out).unwrap_err().to_string().contains("log.jsonl"));
    }

    #[test]
    fn means_look_back() {
        assert_eq!(smoothed(&[(1, 1.0), (2, 3.0), (4, 5.0)], 2), [(1, 1.0), (2, 2.0), (4, 4.0)]);
        assert!(smoothed(&[], 3).is_empty());
    }
}
