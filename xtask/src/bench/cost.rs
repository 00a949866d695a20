//! What an image or a token costs, by how many there are at once.

use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;

use super::plan::Task;

/// One kind of work in several sizes.
pub(crate) struct Sweep {
    /// What the sizes count.
    pub(crate) unit: &'static str,
    /// The option that sets the size.
    pub(crate) option: &'static str,
    pub(crate) sizes: &'static [u32],
    pub(crate) task: Task,
}

/// What one contender took.
pub(crate) struct Curve {
    pub(crate) name: String,
    /// Sizes, and milliseconds for each image or token.
    pub(crate) points: Vec<(u32, f64)>,
}

/// A table with a line for each size and a column for each curve.
pub(crate) fn markdown(sweep: &Sweep, curves: &[Curve]) -> String {
    let mut text = format!("## {}, {}: milliseconds for each {}\n\n", sweep.task.job, sweep.task.model, sweep.unit);
    let names: String = curves.iter().map(|curve| format!(" {} |", curve.name)).collect();
    let _ = writeln!(text, "| {}s |{names}\n| ---: |{}", sweep.unit, " ---: |".repeat(curves.len()));
    for size in sweep.sizes {
        let cell = |curve: &Curve| match curve.points.iter().find(|(of, _)| of == size) {
            Some((_, ms)) => format!(" {ms:.*} |", decimals(*ms)),
            None => " not measured |".to_owned(),
        };
        let _ = writeln!(text, "| {size} |{}", curves.iter().map(cell).collect::<String>());
    }
    text
}

fn decimals(ms: f64) -> usize {
    if ms < 10.0 { 2 } else { 1 }
}

/// Draws all sweeps side by side as an SVG; a flat line is work that grows as its size does.
///
/// # Errors
///
/// If the file cannot be written.
pub(crate) fn plot(path: &Path, sweeps: &[(&Sweep, Vec<Curve>)]) -> Result<(), String> {
    draw(path, sweeps).map_err(|e| format!("{}: {e}", path.display()))
}

fn draw(path: &Path, sweeps: &[(&Sweep, Vec<Curve>)]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (1080, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (sweep, curves)) in root.split_evenly((1, sweeps.len().max(1))).iter().zip(sweeps) {
        let (Some(first), Some(last)) = (sweep.sizes.first(), sweep.sizes.last()) else { continue };
        let most = curves.iter().flat_map(|curve| &curve.points).map(|(_, ms)| *ms).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{} of {}", sweep.task.job, sweep.task.model), ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((*first..*last).log_scale().base(2.0), 0.0..most * 1.15 + 1e-9)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(format!("{}s at once", sweep.unit))
            .y_desc(format!("milliseconds for each {}", sweep.unit))
            .label_style(("sans-serif", 14))
            .x_labels(sweep.sizes.len())
            .draw()?;
        for (nth, curve) in curves.iter().enumerate() {
            // Okabe and Ito's colours, which people tell apart who see fewer.
            const COLOURS: [RGBColor; 6] = [
                RGBColor(0, 114, 178),
                RGBColor(86, 180, 233),
                RGBColor(213, 94, 0),
                RGBColor(0, 158, 115),
                RGBColor(230, 159, 0),
                RGBColor(204, 121, 167),
            ];
            let style = COLOURS[nth % COLOURS.len()].stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style).point_size(3))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep() -> Sweep {
        let task = Task { job: "guard", model: "smol", options: &[], contenders: Vec::new() };
        Sweep { unit: "image", option: "--batch", sizes: &[1, 2, 4], task }
    }

    fn curves() -> Vec<Curve> {
        let curve = |name: &str, points: &[(u32, f64)]| Curve { name: name.into(), points: points.to_vec() };
        vec![curve("SafeVLM f32", &[(1, 120.0), (2, 110.0), (4, 104.04)]), curve("torch f32", &[(1, 9.0)])]
    }

    #[test]
    fn what_was_not_measured_is_said_so() {
        let text = markdown(&sweep(), &curves());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "## guard, smol: milliseconds for each image");
        assert_eq!(lines[2], "| images | SafeVLM f32 | torch f32 |");
        assert_eq!(lines[4], "| 1 | 120.0 | 9.00 |");
        assert_eq!(lines[6], "| 4 | 104.0 | not measured |");
    }

    #[test]
    fn a_plot_has_every_curve() {
        let path = std::env::temp_dir().join(format!("safevlm-cost-{}.svg", std::process::id()));
        plot(&path, &[(&sweep(), curves())]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for wanted in ["guard of smol", "SafeVLM f32", "torch f32", "images at once"] {
            assert!(svg.contains(wanted), "{wanted}");
        }
        assert_eq!(svg.matches("<circle").count(), 4);
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error() {
        let error = plot(Path::new("/nowhere/at/all.svg"), &[(&sweep(), curves())]).unwrap_err();
        assert!(error.starts_with("/nowhere/at/all.svg: "), "{error}");
    }
}
