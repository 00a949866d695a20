//! Every family against its reference, stage by stage, on checkpoints that the reference saved; and what must
//! hold of all of them.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use safevlm::{Conversation, DeviceSpec, GenerationConfig, LoadOptions, RgbImage, SafeVlm};
use safevlm_family::Family;
use safevlm_nn::{GuardHead, GuardInput, ImageTokens, VisionEncoder};
use safevlm_tests::{
    Checkpoint, Golden, PixelValues, assert_close, assert_gradients_reach_what_is_trainable, assert_invariants, flex,
    golden_folders, images, values,
};

/// The same tests for each family.
macro_rules! families {
    ($($name:ident: $family:ty, $folder:literal;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn every_stage_equals_the_reference() {
                for dir in golden_folders($folder) {
                    for device in [flex(), flex().autodiff()] {
                        stages_equal::<$family>(&dir, &device, 1e-4);
                    }
                }
            }

            #[cfg(feature = "wgpu")]
            #[test]
            fn wgpu_gives_the_same_numbers() {
                let device = DeviceSpec::Wgpu(None).open().unwrap().0;
                stages_equal::<$family>(&golden_folders($folder)[0], &device, 1e-3);
            }

            #[test]
            fn invariants_hold() {
                for dir in golden_folders($folder) {
                    let conversations: Vec<_> =
                        Golden::read(&dir).cases.into_iter().map(|case| case.conversation).collect();
                    for device in [flex(), flex().autodiff()] {
                        assert_invariants(&Checkpoint::<$family>::load(&dir, &device), &conversations, 1e-4);
                    }
                }
            }

            #[test]
            fn gradients_reach_exactly_what_is_trainable() {
                for dir in golden_folders($folder) {
                    let model = Checkpoint::<$family>::load(&dir, &flex().autodiff());
                    let cases = Golden::read(&dir).cases;
                    let case = cases.iter().find(|case| case.conversation.has_images()).unwrap();
                    assert_gradients_reach_what_is_trainable(model, &case.conversation);
                }
            }

            #[test]
            fn a_heat_map_is_what_the_guard_says_of_each_token() {
                golden_folders($folder).iter().for_each(|dir| maps_are_of_tokens::<$family>(dir));
            }

            #[test]
            fn the_facade_answers_as_the_reference() {
                golden_folders($folder).iter().for_each(|dir| answers_equal(dir));
            }
        }
    )*};
}

families! {
    safe_llava: safevlm_safe_llava::Processor, "safe-llava";
    safe_qwen: safevlm_safe_qwen::Processor, "safe-qwen";
    safe_gem: safevlm_safe_gem::Processor, "safe-gem";
}

/// Names the first stage that differs by more than `tolerance` of its greatest value.
fn stages_equal<F: Family>(dir: &Path, device: &Device, tolerance: f32)
where
    <F::Vision as VisionEncoder>::Pixels: PixelValues,
{
    let golden = Golden::read(dir);
    let model = Checkpoint::<F>::load(dir, device);
    for (nth, case) in golden.cases.iter().enumerate() {
        let check = |stage: &str, ours: Option<Vec<f32>>| {
            let what = format!("{stage} of case {nth} of {}", dir.display());
            let reference = golden.stage(nth, stage);
            assert_eq!(ours.is_some(), reference.is_some(), "{what}: one side has none");
            if let (Some(ours), Some(reference)) = (ours, reference) {
                assert_close(&what, &ours, &reference, tolerance);
            }
        };
        let inputs = model.inputs(&case.conversation);
        assert_eq!(inputs.sequences.row(0), case.prompt, "the prompt of case {nth} of {}", dir.display());
        check("pixels", inputs.pixels.as_ref().map(PixelValues::values));
        let visual = inputs.pixels.clone().map(|pixels| model.model.visual_tokens(pixels, &model.device));
        check("visual_tokens", visual.map(|visual| values(visual.states())));
        let output = model.forward(&inputs);
        check("hidden", Some(values(output.hidden.clone())));
        check("guard", output.guard.clone().map(values));
        check("logits", Some(model.last_logits(&output)));
    }
}

/// The facade's prompt, greedy tokens and probabilities are the reference's.
fn answers_equal(dir: &Path) {
    let options = LoadOptions { device: DeviceSpec::Flex, ..LoadOptions::default() };
    let model = SafeVlm::load(dir, &options).unwrap();
    for (nth, case) in Golden::read(dir).cases.iter().enumerate() {
        let what = format!("case {nth} of {}", dir.display());
        let config = GenerationConfig { max_new_tokens: case.greedy.len(), ..GenerationConfig::default() };
        let answer = model.chat(&case.conversation, &config, &mut |_| ()).unwrap();
        assert_eq!(answer.prompt_tokens, case.prompt, "{what}: the prompt");
        assert_eq!(answer.generated_tokens, case.greedy, "{what}: the answer");
        let Some(guard) = &case.guard else {
            assert!(answer.safety.is_none(), "{what}: a verdict without a guard or an image");
            continue;
        };
        // Of several images, the most unsafe one counts; two may be equally unsafe.
        let least = guard.iter().map(|image| image[0]).fold(1.0, f32::min);
        let most = guard.iter().filter(|image| image[0] <= least + 1e-6);
        let safety = answer.safety.unwrap();
        let ours: Vec<f32> = safety.probabilities.values().copied().collect();
        let distance = |image: &Vec<f32>| image.iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let nearest = most.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
        assert_close(&format!("{what}: probabilities"), &ours, nearest, 1e-4);

        assert_guard_is_chat(&model, &case.conversation, &what);
    }
    answers_together_equal(&model, dir);
    questions_about_one_picture_equal_those_alone(&model, dir);
}

/// Questions of different lengths, which share their picture and what stands before it.
fn questions_about_one_picture_equal_those_alone(model: &SafeVlm, dir: &Path) {
    let cases = Golden::read(dir).cases;
    let picture = cases.iter().find_map(|case| case.conversation.images.first()).unwrap();
    let ask = |question: &str| Conversation::new().user(question, [picture.clone()]);
    let conversations = ["What is it?", "Is there a way to use what is shown here?", "What"].map(ask);
    let config = GenerationConfig { max_new_tokens: 8, ..GenerationConfig::default() };
    let together = model.chat_batch(&conversations, &config).unwrap();
    for (conversation, answer) in conversations.iter().zip(together) {
        let alone = model.chat(conversation, &config, &mut |_| ()).unwrap();
        let what = dir.display();
        assert_eq!(answer.prompt_tokens, alone.prompt_tokens, "{what}: the prompt");
        assert_eq!(answer.generated_tokens, alone.generated_tokens, "{what}: the answer");
        assert_eq!(answer.safety.is_some(), alone.safety.is_some(), "{what}: the verdict");
        if let (Some(ours), Some(alone)) = (answer.safety, alone.safety) {
            assert_close(&format!("{what}: unsafe"), &[ours.unsafe_probability], &[alone.unsafe_probability], 1e-4);
        }
    }
}

/// Conversations of different lengths, with and without images, answered in one batch.
fn answers_together_equal(model: &SafeVlm, dir: &Path) {
    let cases = Golden::read(dir).cases;
    let conversations: Vec<Conversation> = cases.iter().map(|case| case.conversation.clone()).collect();
    let longest = cases.iter().map(|case| case.greedy.len()).max().unwrap();
    let config = GenerationConfig { max_new_tokens: longest, ..GenerationConfig::default() };
    let answers = model.chat_batch(&conversations, &config).unwrap();
    assert_eq!(answers.len(), cases.len());
    for (nth, (case, answer)) in cases.iter().zip(answers).enumerate() {
        let what = format!("case {nth} of {} in a batch", dir.display());
        assert_eq!(answer.prompt_tokens, case.prompt, "{what}: the prompt");
        assert_eq!(answer.generated_tokens[..case.greedy.len()], case.greedy, "{what}: the answer");
        assert_eq!(answer.safety.is_some(), case.guard.is_some(), "{what}: the verdict");
        let Some(guard) = &case.guard else { continue };
        let least = guard.iter().map(|image| image[0]).fold(1.0, f32::min);
        let unsafe_probability = answer.safety.unwrap().unsafe_probability;
        assert_close(&format!("{what}: the most unsafe"), &[unsafe_probability], &[1.0 - least], 1e-4);
    }
}

/// The guard alone sees no text, and gives what a chat about the image without any text gives.
fn assert_guard_is_chat(model: &SafeVlm, conversation: &Conversation, what: &str) {
    let config = GenerationConfig { max_new_tokens: 1, ..GenerationConfig::default() };
    let images: Vec<&RgbImage> = images(conversation);
    // Images of different sizes in one batch.
    for (image, alone) in images.iter().zip(model.guard(&images).unwrap()) {
        let question = Conversation::new().user("", [Arc::new((*image).clone())]);
        let asked = model.chat(&question, &config, &mut |_| ()).unwrap().safety.unwrap();
        let [alone, asked] = [alone, asked].map(|verdict| verdict.probabilities.into_values().collect::<Vec<f32>>());
        assert_close(&format!("{what}: the guard alone"), &alone, &asked, 1e-4);
    }
}

/// The verdict with a map is the guard's, and each token of the map what the head says of that token's state.
fn maps_are_of_tokens<F: Family>(dir: &Path) {
    let facade = SafeVlm::load(dir, &LoadOptions { device: DeviceSpec::Flex, ..LoadOptions::default() }).unwrap();
    let model = Checkpoint::<F>::load(dir, &flex());
    let cases = Golden::read(dir).cases;
    for image in cases.iter().flat_map(|case| images(&case.conversation)) {
        let Some(guard) = &model.model.guard else {
            assert!(matches!(facade.heatmap(image), Err(safevlm::Error::NoGuard { .. })), "{}", dir.display());
            continue;
        };
        if guard.meta_token().is_some() {
            assert!(matches!(facade.heatmap(image), Err(safevlm::Error::NoHeatmap { .. })), "{}", dir.display());
            continue;
        }
        let map = facade.heatmap(image).unwrap();
        let what = format!("{} of {}x{}", dir.display(), image.width(), image.height());
        let probabilities = |verdict: &safevlm::Verdict| verdict.probabilities.values().copied().collect::<Vec<f32>>();
        let alone = &facade.guard(&[image]).unwrap()[0];
        assert_close(&what, &probabilities(&map.verdict), &probabilities(alone), 1e-5);

        let inputs = model.inputs(&Conversation::new().user("", [Arc::new(image.clone())]));
        let visual = model.model.visual_tokens(inputs.pixels.clone().unwrap(), &model.device);
        assert_eq!(map.grid.tokens(), visual.counts()[0], "{what}");
        let states = match guard.input() {
            GuardInput::Projector => visual.states(),
            GuardInput::HiddenStates => {
                let [_, tokens, width] = model.forward(&inputs).hidden.dims();
                let hidden = model.forward(&inputs).hidden.reshape([tokens, width]);
                let states = inputs.sequences.visual_tokens().into_iter().map(|at| hidden.clone().narrow(0, at, 1));
                Tensor::cat(states.collect(), 0)
            }
        };
        for token in [0, map.grid.columns - 1, map.grid.tokens() / 2, map.grid.tokens() - 1] {
            let one = ImageTokens::new(states.clone().narrow(0, token, 1), vec![1]);
            assert_close(&what, map.logits(token), &values(guard.classify(one)), 1e-4);
        }
    }
}

/// What memory there is decides before anything is loaded, where the system tells it.
#[cfg(target_os = "linux")]
#[test]
fn a_model_that_needs_more_memory_than_there_is_gets_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folders = golden_folders("safe-llava");
    let tiny = folders.iter().find(|folder| folder.ends_with("tiny")).unwrap();
    for entry in std::fs::read_dir(tiny).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = dir.path().join("config.json");
    let mut config = safevlm_family::read_json(&file).unwrap();
    config["text_config"]["max_position_embeddings"] = 16_000_000.into();
    std::fs::write(&file, config.to_string()).unwrap();
    let options = |context| LoadOptions { device: DeviceSpec::Flex, context, ..LoadOptions::default() };
    // All attention scores of so long a context would take terabytes.
    let error = SafeVlm::load(dir.path(), &options(Some(usize::MAX))).unwrap_err().to_string();
    assert!(error.contains("choose a context of at most") && error.contains("are free"), "{error}");
    SafeVlm::load(dir.path(), &options(Some(2048))).unwrap();
    SafeVlm::load(dir.path(), &options(None)).unwrap();
}
