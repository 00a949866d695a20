//! What a measurement was made on, and when.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Vector instructions that decide what the kernels can do.
const FLAGS: &[&str] = &[
    "sse4_1",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_bf16",
    "asimd",
];

/// The date in UTC, `YYYY-MM-DD`.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date((seconds / 86_400) as i64)
}

/// The date of a day counted from 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`).
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A Markdown list: processor, instructions, memory, system. Linux tells; elsewhere only the system.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value(&cpu, "model name").unwrap_or("unknown processor");
    let known = value(&cpu, "flags").or_else(|| value(&cpu, "Features")).unwrap_or_default();
    let flags: Vec<&str> =
        FLAGS.iter().copied().filter(|flag| known.split_whitespace().any(|own| own == *flag)).collect();
    let kibibytes = value(&memory, "MemTotal").and_then(|text| text.trim_end_matches("kB").trim().parse::<f64>().ok());
    let gib = kibibytes.map_or(String::new(), |kib| format!(", {:.0} GiB of memory", kib / 1024.0 / 1024.0));
    let family = [value(&cpu, "cpu family"), value(&cpu, "model\t")].map(|part| part.unwrap_or("?"));
    format!(
        "- {model} (family {}, model {}), {cores} processors{gib}, {} {}\n- vector instructions: {}",
        family[0],
        family[1],
        std::env::consts::OS,
        std::env::consts::ARCH,
        flags.join(" ")
    )
}

/// Whether the processor multiplies numbers of 16 bits with the exponent of 32.
pub(crate) fn has_bf16() -> bool {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let known = value(&cpu, "flags").or_else(|| value(&cpu, "Features")).unwrap_or_default();
    known.split_whitespace().any(|flag| ["avx512_bf16", "amx_bf16", "bf16"].contains(&flag))
}

/// The value of the first line that begins with `key`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_become_dates() {
        let cases = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_783, "2026-11-26")];
        for (days, expected) in cases {
            assert_eq!(date(days), expected);
        }
    }
}
