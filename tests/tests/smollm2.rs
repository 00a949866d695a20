//! SmolLM2, text only, against transformers on the same dequantised weights
//! (xtask/goldens/smollm2.py).

use burn::tensor::{Device, Tensor};
use safevlm::{Conversation, DeviceSpec, GenerationConfig, LoadOptions, Message, Part, Role, SafeVlm};
use safevlm_llama::{Llama, LlamaConfig};
use safevlm_nn::{CausalLm, Sequences, sampler::argmax, vlm};
use safevlm_tests::{assert_close, model_dir, values, workspace};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, load_module};
use serde_json::Value;

fn goldens() -> Value {
    let path = workspace().join("models/llama/tests/goldens/smollm2_greedy.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn conversation(messages: &Value) -> Conversation {
    let message = |message: &Value| {
        let role = match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "user" => Role::User,
            _ => Role::Assistant,
        };
        Message { role, parts: vec![Part::Text(message["content"].as_str().unwrap().to_owned())] }
    };
    Conversation { messages: messages.as_array().unwrap().iter().map(message).collect(), images: vec![] }
}

#[test]
fn the_facade_generates_the_references_tokens() {
    let options = LoadOptions { device: DeviceSpec::Flex, ..LoadOptions::default() };
    let model = SafeVlm::load(&model_dir("smollm2-135m-instruct"), &options).unwrap();
    let goldens = goldens();
    let cases = goldens["cases"].as_array().unwrap();
    assert!(cases.len() >= 5);
    for case in cases {
        let config = GenerationConfig { max_new_tokens: 64, ..GenerationConfig::default() };
        let mut streamed = String::new();
        let answer =
            model.chat(&conversation(&case["messages"]), &config, &mut |piece| streamed.push_str(piece)).unwrap();
        let name = &case["name"];
        assert_eq!(answer.prompt_tokens, ids(&case["input_ids"]), "{name}: the prompt");
        // The reference generated on behind the end of the turn; the facade stops there.
        let expected = ids(&case["greedy_ids"]);
        let until = expected.iter().position(|id| *id == 2).map_or(expected.len(), |at| at + 1);
        assert_eq!(answer.generated_tokens, expected[..until], "{name}: the answer");
        assert_eq!(streamed, answer.text, "{name}: streamed and whole text");
        assert!(answer.safety.is_none());
    }
}

/// The graph alone.
fn llama() -> (Llama, Device) {
    let device = DeviceSpec::Flex.open().unwrap().0;
    let dir = model_dir("smollm2-135m-instruct");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
    let weights = SafetensorsDir::open(&dir).unwrap();
    let keys = KeyMap::new(&[(r"^model\.", "")]);
    let model = LlamaConfig::from_hf(&config).unwrap().init(&device);
    (load_module(model, &weights, &keys, &Allow::nothing()).unwrap().0, device)
}

#[test]
fn a_prompt_in_pieces_gives_the_states_of_one_pass() {
    let (model, device) = llama();
    let rows = Sequences::single((0..1100).map(|at| 100 + at * 37 % 40_000).collect(), None);
    let embeddings = model.embed(rows.ids(0, &device));
    let mut cache = model.new_cache(1, rows.tokens(), &device);
    let in_pieces = vlm::run(&model, embeddings.clone(), &rows, 0, Some(&mut cache), &device);
    assert_eq!(cache.len(), rows.tokens());
    let at_once = vlm::run(&model, embeddings, &rows, 0, None, &device);
    assert_close("states", &values(in_pieces), &values(at_once), 1e-4);
}

#[test]
fn all_64_tokens_follow_with_and_without_the_cache() {
    let (model, device) = llama();
    let last = |hidden: Tensor<3>| {
        let [_, tokens, width] = hidden.dims();
        argmax(&values(model.logits(hidden.narrow(1, tokens - 1, 1).reshape([1, width]))))
    };
    for case in goldens()["cases"].as_array().unwrap() {
        let (prompt, expected) = (ids(&case["input_ids"]), ids(&case["greedy_ids"]));
        let mut rows = Sequences::single(prompt.clone(), None);
        let mut cache = model.new_cache(1, prompt.len() + expected.len(), &device);
        let mut start = 0;
        for id in &expected {
            let part = model.embed(rows.ids(start, &device));
            let next = last(vlm::run(&model, part, &rows, start, Some(&mut cache), &device));
            assert_eq!(next, *id, "{}: token {} with the cache", case["name"], rows.tokens() - prompt.len());
            start = rows.tokens();
            rows.push(&[next]);
        }
        // Without the cache, one pass over the whole sequence predicts every token of it.
        let hidden = vlm::run(&model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
        for (nth, id) in expected.iter().enumerate() {
            let state = hidden.clone().narrow(1, prompt.len() + nth - 1, 1);
            assert_eq!(last(state), *id, "{}: token {nth} without the cache", case["name"]);
        }
    }
}
