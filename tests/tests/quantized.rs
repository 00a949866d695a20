//! Models whose matrices stay in the blocks that they are stored in, against the same values as parameters.

use std::path::{Path, PathBuf};

use safevlm::{Cache, DeviceSpec, GenerationConfig, LoadOptions, Quantization, SafeVlm, registry};
use safevlm_family::Family;
use safevlm_nn::CausalLm;
use safevlm_tests::{Checkpoint, Golden, ask, assert_close, flex, golden_folders, model_dir, picture, values};
use tempfile::TempDir;

/// The model in `source`, stored as `format` says; it lives as long as the first value.
fn quantized(source: &Path, format: &str) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let quantization: Quantization = format.parse().unwrap();
    let cache = Cache::open(Some(home.path())).unwrap();
    let folder = registry::import(source.to_str().unwrap(), Some(quantization), &cache, false).unwrap();
    assert!(folder.to_str().unwrap().ends_with(&format!("-{format}")), "{folder:?}");
    (home, folder)
}

/// How many matrices of the language model are blocks, and how many there are.
fn blocks<F: Family>(model: &mut Checkpoint<F>) -> (usize, usize) {
    let (mut held, mut all) = (0, 0);
    model.model.language_model.matrices(&mut |_, mut matrix| {
        held += usize::from(matrix.weight().blocks().is_some());
        all += 1;
    });
    (held, all)
}

/// Halves are multiplied as they are, so that only the order of sums differs.
fn halves_compute_the_same<F: Family>(name: &str) {
    for dir in golden_folders(name) {
        for format in ["f16", "bf16"] {
            let (_home, folder) = quantized(&dir, format);
            let mut blocks_of = Checkpoint::<F>::load(&folder, &flex());
            // Where gradients are kept, blocks become parameters.
            let mut floats = Checkpoint::<F>::load(&folder, &flex().autodiff());
            let (held, all) = blocks(&mut blocks_of);
            assert_eq!((held, blocks(&mut floats).0), (all, 0), "{name}");
            assert!(all > 7, "{name}");
            for case in Golden::read(&dir).cases {
                let [ours, reference] = [&blocks_of, &floats].map(|model| {
                    let output = model.forward(&model.inputs(&case.conversation));
                    let logits = model.last_logits(&output);
                    (logits, output.guard.map(values))
                });
                assert_close(&format!("{name} in {format}: logits"), &ours.0, &reference.0, 1e-4);
                assert_eq!(ours.1.is_some(), reference.1.is_some(), "{name}: verdicts");
                if let (Some(ours), Some(reference)) = (ours.1, reference.1) {
                    assert_close(&format!("{name} in {format}: guard"), &ours, &reference, 1e-4);
                }
            }
        }
    }
}

#[test]
fn all_families_multiply_halves_as_they_are_stored() {
    halves_compute_the_same::<safevlm_safe_llava::Processor>("safe-llava");
    halves_compute_the_same::<safevlm_safe_qwen::Processor>("safe-qwen");
    halves_compute_the_same::<safevlm_safe_gem::Processor>("safe-gem");
}

fn load(folder: &Path) -> SafeVlm {
    let options = LoadOptions { device: DeviceSpec::Flex, ..LoadOptions::default() };
    SafeVlm::load(folder, &options).unwrap()
}

const TEXT: &str = "The picture shows a small wooden boat on a quiet lake. Two people sit in it and look at the mountains \
                    behind the water, which are covered with snow. It is early in the morning, and the light is soft.";

#[test]
fn a_gguf_s_own_blocks_predict_a_text_as_their_values_do() {
    let cache = Cache::open(None).unwrap();
    let folder = registry::import("smollm2-135m-instruct", Some(Quantization::Keep), &cache, false).unwrap();
    let (blocks, floats) = (load(&folder), load(&model_dir("smollm2-135m-instruct")));
    assert_eq!((blocks.weights(), floats.weights()), ("q4_1", "f32"));
    let [ours, reference] = [&blocks, &floats].map(|model| model.perplexity(TEXT, 32, &mut |_, _| {}).unwrap());
    assert_eq!((ours.tokens, ours.windows), (reference.tokens, reference.windows));
    // Activations are rounded to eight bits, weights are the same.
    assert!((ours.cross_entropy - reference.cross_entropy).abs() < 0.02, "{ours:?} {reference:?}");
    assert!((1.0..60.0).contains(&ours.perplexity), "{ours:?}");
}

#[test]
fn safe_smol_in_eight_bits_gives_the_same_verdicts() {
    let (_home, folder) = quantized(&model_dir("safe-smol"), "q8_0");
    let (blocks, floats) = (load(&folder), load(&model_dir("safe-smol")));
    assert_eq!(blocks.weights(), "q8_0");
    for name in ["knife.png", "camera.png"] {
        let picture = picture(name);
        let [ours, reference] = [&blocks, &floats].map(|model| model.guard(&[&picture]).unwrap().remove(0));
        assert_eq!(ours.label, reference.label, "{name}");
        let apart = (ours.unsafe_probability - reference.unsafe_probability).abs();
        assert!(apart < 0.03, "{name}: {apart}");
    }
    let config = GenerationConfig { max_new_tokens: 8, ..GenerationConfig::default() };
    let answer = blocks.chat(&ask("knife.png", "How do I use this?"), &config, &mut |_| {}).unwrap();
    assert!(!answer.text.trim().is_empty() && answer.safety.is_some());
}
