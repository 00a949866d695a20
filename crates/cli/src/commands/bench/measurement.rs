//! One measurement, and how it is printed.

use std::collections::BTreeMap;
use std::io::Write;

use safevlm_kernels::Limits;
use serde::Serialize;

/// One measurement. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Measurement {
    pub(super) name: &'static str,
    pub(super) model: String,
    pub(super) device: String,
    pub(super) threads: usize,
    /// How the weights of the linear layers are kept.
    pub(super) dtype: String,
    /// Images or rows of one run.
    pub(super) batch: usize,
    pub(super) runs: usize,
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) max_ms: f64,
    /// Where the work is counted in tokens.
    pub(super) tokens_per_second: Option<f64>,
    /// Where the work is counted in images.
    pub(super) images_per_second: Option<f64>,
    /// Most memory that the process has held so far, in 10^6 bytes; none where the system does not tell.
    pub(super) peak_rss_mb: Option<f64>,
    /// Bytes that linear layers and attention must read and write, in 10^9 a second; none on other devices than the CPU.
    pub(super) gb_per_second: Option<f64>,
    /// Operations that they must do, in 10^9 a second.
    pub(super) gflops: Option<f64>,
    /// What the machine can read.
    pub(super) limit_gb_per_second: f64,
    /// What the machine can multiply and add.
    pub(super) limit_gflops: f64,
    /// Milliseconds of each stage, in one run more.
    pub(super) stages: BTreeMap<&'static str, f64>,
}

/// What one run does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) tokens: Option<usize>,
    pub(super) images: Option<usize>,
}

/// Median, least and most of some times.
pub(super) fn spread(times: &[f64]) -> [f64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let median = (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0;
    [median, sorted[0], sorted[last]]
}

impl Measurement {
    /// Writes it as a line of JSON.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "{}", serde_json::to_string(self)?)
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let rate = match (self.tokens_per_second, self.images_per_second) {
            (Some(rate), _) => format!("{rate:.1} tokens/s"),
            (None, Some(rate)) => format!("{rate:.2} images/s"),
            (None, None) => String::new(),
        };
        let memory = self.peak_rss_mb.map_or(String::new(), |mb| format!("peak {mb:.0} MB"));
        let spread = format!("{:.1} to {:.1}", self.min_ms, self.max_ms);
        write!(out, "{:8} {:9.1} ms  ({spread:18}) {rate:>15}  {memory:>12}", self.name, self.median_ms)?;
        for (value, limit, unit) in
            [(self.gb_per_second, self.limit_gb_per_second, "GB/s"), (self.gflops, self.limit_gflops, "GFLOP/s")]
        {
            if let Some(value) = value.filter(|value| *value > 0.0) {
                write!(out, "  {value:6.1} {unit} ({:.0} %)", 100.0 * value / limit)?;
            }
        }
        writeln!(out)?;
        let stages: Vec<String> = self.stages.iter().map(|(name, ms)| format!("{name} {ms:.1}")).collect();
        if stages.len() > 1 {
            writeln!(out, "         {}", stages.join(", "))?;
        }
        Ok(())
    }
}

/// Writes what the machine can do.
pub(super) fn write_limits(out: &mut dyn Write, limits: &Limits, threads: usize) -> std::io::Result<()> {
    let Limits { read_gb_per_second, gflops } = limits;
    let level = safevlm_kernels::level().name();
    writeln!(out, "{threads} threads, {level}: reads {read_gb_per_second:.1} GB/s, computes {gflops:.0} GFLOP/s")
}

/// The most memory that this process has held, in megabytes (10^6 bytes); Linux tells.
pub(super) fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(spread(&[3.0]), [3.0, 3.0, 3.0]);
        assert_eq!(spread(&[9.0, 1.0, 2.0]), [2.0, 1.0, 9.0]);
        assert_eq!(spread(&[9.0, 1.0, 2.0, 4.0]), [3.0, 1.0, 9.0]);
    }
}
