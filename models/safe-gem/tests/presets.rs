//! The published sizes: every tensor of theirs has a parameter of the same shape.

use burn::module::Module;
use burn::tensor::Device;
use safevlm_family::{Family, check};
use safevlm_gemma::GemmaConfig;
use safevlm_safe_gem::{PUBLISHED, Processor};
use safevlm_siglip::SiglipVisionConfig;

#[test]
fn every_tensor_has_its_parameter() {
    // Parameters as transformers counts them, and the guard's of holisafe's table (arXiv 2506.04704).
    let expected = [
        ("safe-gem-12b", "12b", 12_187_325_040 + 7_413_140),
        ("safe-gem-27b", "27b", 27_432_406_640 + 14_507_156),
        ("gemma-3-4b", "4b", 4_300_079_472),
        ("gemma-3-12b", "12b", 12_187_325_040),
    ];
    assert_eq!(PUBLISHED.len(), expected.len());
    for (published, (name, size, total)) in PUBLISHED.iter().zip(expected) {
        assert_eq!(published.name, name);
        let config = Processor::config(&published.config()).unwrap();
        assert_eq!(config.text, GemmaConfig::preset(size).unwrap(), "{name}");
        assert_eq!(config.vision, SiglipVisionConfig::preset("so400m-patch14-896").unwrap(), "{name}");
        assert_eq!((config.tokens_per_image(), config.image_token), (256, 262_144), "{name}");
        assert_eq!(config.guard.is_some(), name.starts_with("safe-"), "{name}");
        assert_eq!(Processor::context(&config), 131_072);

        let report = check::<Processor>(&config, &published.index().unwrap()).unwrap();
        assert!(
            report.missing.is_empty() && report.unused.is_empty() && report.misshapen.is_empty(),
            "{name}: {report}"
        );
        let parameters: usize = report.applied.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, total, "{name}");
        assert_eq!(config.init(&Device::flex()).num_params(), total, "{name}");
    }
}

#[test]
fn the_guard_has_holisafes_labels() {
    let config = Processor::config(&PUBLISHED[0].config()).unwrap();
    let guard = Processor::guard(&config).unwrap();
    assert_eq!((guard.head.inner(), guard.head.num_safety_categories), (1920, 20));
}
