//! What is read back from a device while text is generated. In a file of its own, since the profile counts all that a
//! process does.
#![cfg(feature = "wgpu")]

use safevlm::{DeviceSpec, GenerationConfig, LoadOptions, SafeVlm};
use safevlm_core::profile::{self, Kind};
use safevlm_tests::{Golden, golden_folders};

#[test]
fn each_token_is_one_small_read_on_wgpu() {
    let dir = &golden_folders("safe-llava")[0];
    let options = LoadOptions { device: DeviceSpec::Wgpu(None), ..LoadOptions::default() };
    let model = SafeVlm::load(dir, &options).unwrap();
    let cases = Golden::read(dir).cases;
    let case = cases.iter().find(|case| case.greedy.len() > 3).unwrap();
    let reads = |tokens: usize| {
        let config = GenerationConfig { max_new_tokens: tokens, ..GenerationConfig::default() };
        profile::start();
        let answer = model.chat(&case.conversation, &config, &mut |_| ());
        let counted = profile::finish();
        assert_eq!(answer.unwrap().generated_tokens, case.greedy[..tokens]);
        let read = counted[&(Kind::Operation, "read back")];
        (read.calls, read.work.bytes)
    };
    let ((few, few_bytes), (many, many_bytes)) = (reads(1), reads(3));
    assert_eq!(many - few, 2);
    // An id, and whether all logits are numbers.
    assert_eq!(many_bytes - few_bytes, 2.0 * 8.0);
}
