//! The published sizes.

use safevlm_family::{Published, published};

/// SafeLLaVA (arXiv 2506.04704 v5) as the original code lays files out, and LLaVA-1.5 (arXiv 2310.03744) as
/// transformers does (xtask/goldens/safe_llava_presets.py).
pub const PUBLISHED: &[Published] = published!("safe-llava-7b", "safe-llava-13b", "llava-1.5-7b", "llava-1.5-13b");

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::Device;
    use safevlm_family::{Family, check};
    use safevlm_weights::TensorSource;

    use super::*;
    use crate::config::Layout;
    use crate::processor::Processor;

    #[test]
    fn every_tensor_has_its_place() {
        for published in PUBLISHED {
            let (config, index) = (Processor::config(&published.config()).unwrap(), published.index().unwrap());
            let report = check::<Processor>(&config, &index).unwrap();
            let none = report.missing.is_empty() && report.unused.is_empty() && report.misshapen.is_empty();
            assert!(none && !report.applied.is_empty(), "{}: {report:?}", published.name);
            let names = index.names();
            let sizes = names.iter().map(|name| index.info(name).unwrap().shape.iter().product::<usize>());
            let values: usize = sizes.sum();
            let model = config.init(&Device::flex());
            assert_eq!(model.num_params(), values, "{}", published.name);
        }
    }

    #[test]
    fn published_sizes_have_the_published_parameters() {
        let counts = PUBLISHED.iter().map(|published| {
            let config = Processor::config(&published.config()).unwrap();
            assert_eq!((config.visual_tokens(), config.text.max_position_embeddings), (576, 4096));
            let model = config.init(&Device::flex());
            (model.num_params(), model.guard.as_ref().map(Module::num_params), config.layout())
        });
        // CLIP 303,507,456, Vicuna 6,738,415,616 or 13,015,864,320, projector 20,979,712 or 31,467,520. The
        // conversions for transformers have 64 more rows of embeddings and head. Guards as in the paper.
        let expected = [
            (303_507_456 + 6_738_415_616 + 20_979_712 + 8_431_636, Some(8_431_636), Layout::Original),
            (303_507_456 + 13_015_864_320 + 31_467_520 + 13_160_980, Some(13_160_980), Layout::Original),
            (303_507_456 + 6_738_415_616 + 20_979_712 + 2 * 64 * 4096, None, Layout::Transformers),
            (303_507_456 + 13_015_864_320 + 31_467_520 + 2 * 64 * 5120, None, Layout::Transformers),
        ];
        assert_eq!(counts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn guards_have_the_benchmarks_labels() {
        for published in PUBLISHED {
            let config = Processor::config(&published.config()).unwrap();
            if let Some(guard) = &config.guard {
                assert_eq!(guard.taxonomy, Default::default(), "{}", published.name);
            }
        }
    }
}
