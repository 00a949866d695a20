//! What share of the time each operation took.

use std::io::Write;
use std::time::Duration;

use safevlm_core::profile::{Kind, Total, Totals};
use safevlm_kernels::Limits;

/// Writes one line for each operation, the longest first. Shares are those of all stages; what no operation
/// accounts for are Burn's own operations and what lies between them.
pub(super) fn write_profile(out: &mut dyn Write, totals: &Totals, limits: &Limits) -> std::io::Result<()> {
    let of = |wanted| totals.iter().filter(move |((kind, _), _)| *kind == wanted);
    let all: Duration = of(Kind::Stage).map(|(_, total)| total.time).sum();
    let mut operations: Vec<(&str, Total)> = of(Kind::Operation).map(|((_, name), total)| (*name, *total)).collect();
    let named: Duration = operations.iter().map(|(_, total)| total.time).sum();
    let rest = Total { time: all.saturating_sub(named), ..Total::default() };
    operations.push(("everything else", rest));
    operations.sort_by_key(|(_, total)| std::cmp::Reverse(total.time));
    writeln!(
        out,
        "\n    {:24} {:>7} {:>10} {:>7} {:>14} {:>16}",
        "operation", "calls", "ms", "share", "GB/s", "GFLOP/s"
    )?;
    for (name, Total { calls, time, work }) in operations {
        let seconds = time.as_secs_f64();
        let share = 100.0 * seconds / all.as_secs_f64().max(1e-12);
        let rate = |work: f64, limit: f64| match work > 0.0 && seconds > 0.0 {
            true => format!("{:.1} ({:.0} %)", work / 1e9 / seconds, 100.0 * work / 1e9 / seconds / limit),
            false => String::new(),
        };
        let (bytes, flops) = (rate(work.bytes, limits.read_gb_per_second), rate(work.flops, limits.gflops));
        writeln!(out, "    {name:24} {calls:7} {:10.2} {share:5.1} % {bytes:>14} {flops:>16}", seconds * 1000.0)?;
    }
    writeln!(out)
}
