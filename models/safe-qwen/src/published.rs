//! The sizes that are published.

use safevlm_family::{Published, published};

/// SafeQwen2.5-VL, whose names of tensors are partly second-hand, and the models that it comes from
/// (xtask/goldens/safe_qwen_presets.py). Qwen2.5-VL-32B differs from safe-qwen2.5-vl-32b by the guard only.
pub const PUBLISHED: &[Published] =
    published!("safe-qwen2.5-vl-7b", "safe-qwen2.5-vl-32b", "qwen2.5-vl-3b", "qwen2.5-vl-7b");

#[cfg(test)]
mod tests {
    use crate::config::SafeQwenConfig;
    use crate::processor::Processor;
    use burn::module::Module;
    use burn::tensor::Device;
    use safevlm_family::{Family, check};

    #[test]
    fn every_tensor_of_the_published_files_has_its_place() {
        // The guards' totals follow from their sizes (6.46 M on the model card of the 7B), the others' are those
        // of the published files.
        let totals = [8_292_166_656 + 6_460_180, 33_452_718_336 + 13_160_980, 3_754_622_976, 8_292_166_656];
        for (published, total) in Processor::PUBLISHED.iter().zip(totals) {
            let config = SafeQwenConfig::from_hf(&published.config()).unwrap();
            let report = check::<Processor>(&config, &published.index().unwrap()).unwrap();
            assert!(report.missing.is_empty(), "{}: {:?}", published.name, report.missing);
            assert!(report.unused.is_empty(), "{}: {:?}", published.name, report.unused);
            assert!(report.misshapen.is_empty(), "{}: {:?}", published.name, report.misshapen);
            let values = report.applied.iter().map(|tensor| tensor.shape.iter().product::<usize>());
            assert_eq!(values.sum::<usize>(), total, "{}", published.name);
            assert_eq!(config.init(&Device::flex()).num_params(), total, "{}", published.name);
            assert_eq!(config.guard.is_some(), published.name.starts_with("safe-"), "{}", published.name);
        }
    }
}
