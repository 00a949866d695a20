//! What the paper publishes.

use serde::Serialize;

/// The leaderboard of HoliSafe-Bench under one judge.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Published {
    /// Short name of the judge.
    pub judge: &'static str,
    /// The judge as the paper calls it.
    pub title: &'static str,
    /// Models in the paper's order.
    pub models: &'static [PublishedModel],
}

/// A model's name, and in percent: SSS (answered), SSU, USU, UUU, SUU (attack success), mASR and RR.
pub type PublishedModel = (&'static str, [f64; 7]);

/// Rows that the paper measures.
pub(super) const PUBLISHED_ROWS: usize = 4031;

/// The leaderboards of HoliSafe-Bench of the paper's v5 (arXiv 2506.04704), from the CSV files of the website in
/// the official repository `youngwanLEE/holisafe`: 21 models under each of four judges, on 4,031 rows.
pub static PUBLISHED: [Published; 4] = [
    Published { judge: "string", title: "String matching", models: &STRING },
    Published { judge: "claude", title: "Claude-3.5-Sonnet", models: &CLAUDE },
    Published { judge: "gpt-4o", title: "GPT-4o", models: &GPT_4O },
    Published { judge: "gemini", title: "Gemini-2.0-Flash", models: &GEMINI },
];

#[rustfmt::skip] // a table reads better with one model a line
static STRING: [PublishedModel; 21] = [
    ("LLaVA-v1.5-7B", [100.0, 98.1, 99.9, 94.6, 90.9, 95.9, 0.0]),
    ("LLaVA-v1.5-13B", [100.0, 98.2, 100.0, 91.7, 93.2, 95.8, 0.0]),
    ("InternVL2.5-8B", [99.7, 96.9, 98.8, 77.5, 81.1, 88.6, 0.3]),
    ("InternVL2.5-26B", [99.9, 93.0, 98.9, 66.4, 70.5, 82.2, 0.1]),
    ("InternVL2.5-38B", [100.0, 94.3, 98.7, 68.9, 69.9, 82.9, 0.0]),
    ("Qwen2.5-VL-7B", [99.9, 85.1, 99.9, 79.8, 83.0, 86.9, 0.1]),
    ("Qwen2.5-VL-32B", [100.0, 96.7, 99.7, 75.0, 81.8, 88.3, 0.0]),
    ("Gemma-3-12B-IT", [99.9, 83.3, 96.8, 41.9, 52.2, 68.5, 0.1]),
    ("Gemma-3-27B-IT", [100.0, 85.9, 97.7, 43.2, 51.9, 69.7, 0.0]),
    ("GPT-4o-mini", [99.6, 80.6, 92.8, 28.9, 38.3, 60.2, 0.4]),
    ("GPT-4o", [98.1, 59.3, 67.7, 11.2, 24.5, 40.7, 1.9]),
    ("Claude-3.5-Sonnet", [99.9, 51.0, 74.4, 17.3, 21.1, 41.0, 0.1]),
    ("Gemini-2.0-Flash", [100.0, 87.0, 97.8, 47.6, 52.4, 71.2, 0.0]),
    ("VLGuard-7B", [99.7, 54.6, 91.9, 29.2, 33.1, 52.2, 0.3]),
    ("SPA-VL-DPO-7B", [99.4, 76.5, 97.9, 39.6, 40.9, 63.7, 0.6]),
    ("SafeLLaVA-7B", [99.7, 16.6, 43.7, 0.3, 1.0, 15.4, 0.3]),
    ("SafeLLaVA-13B", [98.2, 16.4, 4.8, 0.0, 0.4, 5.4, 1.8]),
    ("SafeGem-12B", [99.7, 20.1, 31.3, 0.4, 1.1, 13.2, 0.3]),
    ("SafeGem-27B", [98.8, 15.0, 12.0, 0.1, 0.3, 6.9, 1.2]),
    ("SafeQwen2.5-VL-7B", [97.8, 17.7, 17.8, 0.3, 1.8, 9.4, 2.2]),
    ("SafeQwen2.5-VL-32B", [98.4, 10.2, 6.4, 0.3, 0.4, 4.3, 1.6]),
];

#[rustfmt::skip] // a table reads better with one model a line
static CLAUDE: [PublishedModel; 21] = [
    ("LLaVA-v1.5-7B", [98.4, 91.2, 70.9, 78.6, 75.9, 79.1, 1.6]),
    ("LLaVA-v1.5-13B", [98.4, 82.8, 71.8, 70.7, 73.1, 74.6, 1.6]),
    ("InternVL2.5-8B", [98.7, 86.8, 62.0, 48.4, 56.1, 63.3, 1.3]),
    ("InternVL2.5-26B", [98.4, 80.9, 64.4, 37.8, 43.7, 56.7, 1.6]),
    ("InternVL2.5-38B", [99.3, 81.5, 62.7, 37.6, 41.5, 55.8, 0.7]),
    ("Qwen2.5-VL-7B", [99.7, 67.0, 57.8, 44.5, 40.7, 52.5, 0.3]),
    ("Qwen2.5-VL-32B", [99.7, 82.6, 57.4, 52.2, 54.7, 61.7, 0.3]),
    ("Gemma-3-12B-IT", [99.4, 78.0, 75.0, 32.7, 48.8, 58.6, 0.6]),
    ("Gemma-3-27B-IT", [99.7, 81.2, 75.4, 29.7, 46.6, 58.2, 0.3]),
    ("GPT-4o-mini", [99.7, 68.9, 57.6, 18.5, 26.6, 42.9, 0.3]),
    ("GPT-4o", [98.8, 46.5, 44.0, 8.4, 15.0, 28.5, 1.2]),
    ("Claude-3.5-Sonnet", [100.0, 28.8, 41.1, 4.9, 8.3, 20.8, 0.0]),
    ("Gemini-2.0-Flash", [99.6, 79.0, 64.9, 31.1, 34.9, 52.5, 0.4]),
    ("VLGuard-7B", [98.7, 47.9, 63.7, 20.2, 27.8, 39.9, 1.3]),
    ("SPA-VL-DPO-7B", [98.4, 55.4, 68.8, 19.1, 18.6, 40.5, 1.6]),
    ("SafeLLaVA-7B", [98.7, 12.1, 22.3, 0.1, 0.7, 8.8, 1.3]),
    ("SafeLLaVA-13B", [97.4, 12.8, 3.5, 0.0, 0.3, 4.2, 2.6]),
    ("SafeGem-12B", [99.7, 14.8, 12.3, 0.4, 0.9, 7.1, 0.3]),
    ("SafeGem-27B", [98.5, 10.9, 4.6, 0.1, 0.3, 4.0, 1.5]),
    ("SafeQwen2.5-VL-7B", [97.9, 16.3, 13.0, 0.0, 1.2, 7.6, 2.1]),
    ("SafeQwen2.5-VL-32B", [98.2, 6.8, 2.5, 0.0, 0.1, 2.4, 1.8]),
];

#[rustfmt::skip] // a table reads better with one model a line
static GPT_4O: [PublishedModel; 21] = [
    ("LLaVA-v1.5-7B", [96.9, 97.9, 99.7, 83.3, 84.0, 91.2, 3.1]),
    ("LLaVA-v1.5-13B", [97.1, 96.5, 99.2, 76.2, 78.1, 87.5, 2.9]),
    ("InternVL2.5-8B", [96.8, 94.8, 97.6, 56.0, 64.9, 78.3, 3.2]),
    ("InternVL2.5-26B", [97.9, 90.0, 97.8, 44.3, 54.2, 71.6, 2.1]),
    ("InternVL2.5-38B", [97.8, 91.1, 97.5, 44.9, 49.8, 70.8, 2.2]),
    ("Qwen2.5-VL-7B", [98.5, 81.1, 99.2, 60.8, 60.2, 75.3, 1.5]),
    ("Qwen2.5-VL-32B", [97.5, 95.4, 99.6, 63.6, 68.6, 81.8, 2.5]),
    ("Gemma-3-12B-IT", [98.8, 82.0, 98.0, 37.2, 51.1, 67.1, 1.2]),
    ("Gemma-3-27B-IT", [99.1, 86.8, 98.9, 35.3, 49.6, 67.6, 0.9]),
    ("GPT-4o-mini", [99.9, 78.8, 90.7, 24.3, 31.7, 56.4, 0.1]),
    ("GPT-4o", [99.1, 56.8, 77.7, 13.1, 21.8, 42.4, 0.9]),
    ("Claude-3.5-Sonnet", [99.7, 48.7, 81.4, 11.7, 18.1, 40.0, 0.3]),
    ("Gemini-2.0-Flash", [99.1, 85.4, 96.7, 37.8, 42.8, 65.7, 0.9]),
    ("VLGuard-7B", [97.5, 54.6, 91.5, 21.8, 30.6, 49.6, 2.5]),
    ("SPA-VL-DPO-7B", [97.5, 71.9, 98.0, 24.6, 27.9, 55.6, 2.5]),
    ("SafeLLaVA-7B", [94.9, 16.6, 43.7, 0.1, 1.0, 15.3, 5.1]),
    ("SafeLLaVA-13B", [94.3, 16.4, 5.5, 0.0, 0.4, 5.6, 5.7]),
    ("SafeGem-12B", [98.2, 20.1, 31.2, 0.4, 1.4, 13.3, 1.8]),
    ("SafeGem-27B", [97.8, 15.0, 12.3, 0.3, 0.4, 7.0, 2.2]),
    ("SafeQwen2.5-VL-7B", [96.0, 19.4, 25.5, 0.1, 2.0, 11.8, 4.0]),
    ("SafeQwen2.5-VL-32B", [97.4, 10.2, 6.6, 0.1, 0.6, 4.4, 2.6]),
];

#[rustfmt::skip] // a table reads better with one model a line
static GEMINI: [PublishedModel; 21] = [
    ("LLaVA-v1.5-7B", [97.9, 98.5, 99.9, 89.5, 88.0, 94.0, 2.1]),
    ("LLaVA-v1.5-13B", [98.2, 97.1, 99.7, 81.1, 84.2, 90.5, 1.8]),
    ("InternVL2.5-8B", [98.1, 95.0, 98.7, 58.6, 68.3, 80.1, 1.9]),
    ("InternVL2.5-26B", [98.1, 90.8, 99.0, 46.9, 58.6, 73.8, 1.9]),
    ("InternVL2.5-38B", [99.1, 90.8, 98.0, 47.3, 55.3, 72.9, 0.9]),
    ("Qwen2.5-VL-7B", [99.3, 82.2, 99.8, 64.5, 67.3, 78.4, 0.7]),
    ("Qwen2.5-VL-32B", [99.6, 95.8, 99.8, 66.8, 73.1, 83.9, 0.4]),
    ("Gemma-3-12B-IT", [99.7, 82.5, 98.2, 33.9, 50.7, 66.3, 0.3]),
    ("Gemma-3-27B-IT", [100.0, 85.7, 98.5, 31.0, 49.1, 66.0, 0.0]),
    ("GPT-4o-mini", [99.9, 79.4, 92.7, 25.6, 34.4, 58.0, 0.1]),
    ("GPT-4o", [99.6, 57.4, 78.6, 12.7, 24.7, 43.4, 0.4]),
    ("Claude-3.5-Sonnet", [99.7, 49.7, 80.9, 12.4, 20.6, 40.9, 0.3]),
    ("Gemini-2.0-Flash", [100.0, 85.8, 97.1, 38.6, 44.6, 66.5, 0.0]),
    ("VLGuard-7B", [98.2, 54.6, 92.3, 28.5, 32.1, 51.9, 1.8]),
    ("SPA-VL-DPO-7B", [98.5, 68.9, 99.2, 31.3, 33.9, 58.3, 1.5]),
    ("SafeLLaVA-7B", [98.4, 16.7, 44.0, 0.7, 1.9, 15.8, 1.6]),
    ("SafeLLaVA-13B", [96.9, 16.9, 5.6, 0.5, 1.0, 6.0, 3.1]),
    ("SafeGem-12B", [99.7, 20.2, 31.7, 0.7, 1.9, 13.6, 0.3]),
    ("SafeGem-27B", [98.8, 15.2, 12.9, 1.1, 1.6, 7.7, 1.2]),
    ("SafeQwen2.5-VL-7B", [97.7, 19.5, 25.6, 0.9, 3.6, 12.4, 2.3]),
    ("SafeQwen2.5-VL-32B", [98.5, 10.4, 6.9, 0.4, 1.7, 4.9, 1.5]),
];

/// The short name of the published judge that is most like `judge`: string matchers compare with string
/// matching, a model with itself where the paper asked it, any other with the paper's first.
pub(super) fn like(judge: &str) -> &'static str {
    let judge = judge.to_lowercase();
    let named = PUBLISHED.iter().find(|published| judge.contains(published.judge));
    named.map_or("claude", |published| published.judge)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slip of the keyboard breaks one of the identities, which hold to the tables' rounding.
    #[test]
    fn tables_agree_with_themselves() {
        for published in &PUBLISHED {
            for (model, [sss, ssu, usu, uuu, suu, masr, rr]) in published.models {
                let mean = (ssu + usu + uuu + suu) / 4.0;
                assert!((mean - masr).abs() < 0.11, "{}, {model}: mASR {masr}, mean {mean}", published.title);
                assert!((sss + rr - 100.0).abs() < 0.05, "{}, {model}: {sss} + {rr}", published.title);
            }
        }
    }

    #[test]
    fn a_judge_is_compared_with_its_like() {
        assert_eq!(like("official-string"), "string");
        assert_eq!(like("string"), "string");
        assert_eq!(like("llm:GPT-4o-2024-11-20"), "gpt-4o");
        assert_eq!(like("llm"), "claude");
    }
}
