//! Tiny random checkpoints written by transformers, stage by stage (xtask/goldens/qwen_tiny.py).

use std::path::PathBuf;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use safevlm_core::DeviceSpec;
use safevlm_nn::{CausalLm, LoraAdapterConfig, Padding, PatchGrid, Positions, Sequences, sampler::argmax, vlm};
use safevlm_qwen::{Qwen, QwenConfig, image_positions, key_rules};
use safevlm_weights::{Allow, KeyMap, SafetensorsDir, TensorSource, collect_module, load_module};
use serde_json::Value;

const NAMES: [&str; 3] = ["tiny-vl", "tiny-vl-flat", "tiny-text"];
const IMAGE: u32 = 60;
const VOCABULARY: usize = 64;

fn goldens(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn flex() -> Device {
    DeviceSpec::Flex.open().unwrap().0
}

fn load(name: &str, device: &Device) -> Qwen {
    let dir = goldens(name);
    let config: Value = serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap();
    let config = QwenConfig::from_hf(&config).unwrap();
    assert_eq!(config.mrope_section.is_empty(), name == "tiny-text");
    let rules = key_rules("");
    let keys = KeyMap::new(&rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    let weights = SafetensorsDir::open(&dir.join("model.safetensors")).unwrap();
    load_module(config.init(device), &weights, &keys, &Allow::nothing()).unwrap().0
}

/// One golden batch: rows without padding, grids of the images in each, and the stages.
struct Golden {
    name: &'static str,
    rows: Vec<Vec<u32>>,
    grids: Vec<Vec<PatchGrid>>,
    stages: SafetensorsDir,
}

impl Golden {
    fn open(name: &'static str) -> Self {
        let stages = SafetensorsDir::open(&goldens(name).join("stages.safetensors")).unwrap();
        let width = stages.info("input_ids").unwrap().shape[1];
        let (ids, mask) = (stages.read_f32("input_ids").unwrap(), stages.read_f32("attention_mask").unwrap());
        let row = |(ids, mask): (&[f32], &[f32])| {
            ids.iter().zip(mask).filter(|(_, m)| **m > 0.0).map(|(id, _)| *id as u32).collect()
        };
        let rows = ids.chunks(width).zip(mask.chunks(width)).map(row).collect();
        let grids = match stages.read_f32("grids") {
            Err(_) => vec![vec![], vec![]],
            Ok(grids) => {
                let grid = |g: &[f32]| PatchGrid { frames: 1, rows: g[1] as usize, columns: g[2] as usize };
                let grids: Vec<_> = grids.chunks(3).map(grid).collect();
                vec![grids[..2].to_vec(), grids[2..].to_vec()]
            }
        };
        Self { name, rows, grids, stages }
    }

    fn vision(&self) -> bool {
        self.name != "tiny-text"
    }

    /// Rows with the positions that their images give them.
    fn place(&self, rows: Sequences, grids: &[PatchGrid]) -> Sequences {
        if !self.vision() {
            return rows;
        }
        let positions = image_positions(&rows, grids, 2).unwrap();
        rows.with_positions(positions)
    }

    fn batch(&self, padding: Padding) -> Sequences {
        let image = self.vision().then_some(IMAGE);
        self.place(Sequences::new(self.rows.clone(), image, 0, padding), &self.grids.concat())
    }

    fn single(&self, row: usize) -> Sequences {
        let image = self.vision().then_some(IMAGE);
        self.place(Sequences::single(self.rows[row].clone(), image), &self.grids[row])
    }

    /// Embeddings of the batch, padded on the left, visual tokens in their places.
    fn embeddings(&self, device: &Device) -> Tensor<3> {
        let shape = self.stages.info("embeddings").unwrap().shape;
        Tensor::from_data(TensorData::new(self.stages.read_f32("embeddings").unwrap(), shape), device)
    }

    /// Embeddings of one row without its padding.
    fn row_embeddings(&self, row: usize, device: &Device) -> Tensor<3> {
        let all = self.embeddings(device);
        let (tokens, longest) = (self.rows[row].len(), all.dims()[1]);
        all.narrow(0, row, 1).narrow(1, longest - tokens, tokens)
    }

    /// Logits of the last token of one row.
    fn last_logits(&self, row: usize) -> Vec<f32> {
        let logits = self.stages.read_f32("logits").unwrap();
        let of_row = logits.len() / self.rows.len();
        logits[..of_row * (row + 1)][of_row * (row + 1) - VOCABULARY..].to_vec()
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Largest difference, as a share of the largest reference value.
fn compare(stage: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{stage}: sizes differ");
    let scale = reference.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= 1e-5 * scale, "{stage} is the first stage that differs: by {worst} of {scale}");
}

/// Values with those of the padding set to zero, as in the golden files.
fn without_padding(rows: &Sequences, x: Tensor<3>) -> Vec<f32> {
    let [batch, tokens, width] = x.dims();
    let mut values = values(x);
    for (row, line) in (0..batch).zip(values.chunks_mut(tokens * width)) {
        for (valid, token) in rows.valid(row).iter().zip(line.chunks_mut(width)) {
            if !valid {
                token.fill(0.0);
            }
        }
    }
    values
}

fn logits(model: &Qwen, hidden: Tensor<3>) -> Tensor<3> {
    let [batch, tokens, width] = hidden.dims();
    let logits = model.logits(hidden.reshape([batch * tokens, width]));
    logits.reshape([batch, tokens, VOCABULARY])
}

fn last(logits: Tensor<3>) -> Vec<f32> {
    let [_, tokens, _] = logits.dims();
    values(logits.narrow(1, tokens - 1, 1))
}

#[test]
fn every_stage_equals_the_reference() {
    for device in [flex(), flex().autodiff()] {
        for golden in NAMES.map(Golden::open) {
            let (name, stages, model) = (golden.name, &golden.stages, load(golden.name, &device));
            let rows = golden.batch(Padding::Left);
            let tokens = rows.tokens();
            let (embeddings, positions) = (golden.embeddings(&device), rows.positions(0, tokens));
            // Where a visual token stands, the embedding is the image's.
            let text = without_padding(&rows, model.embed(rows.ids(0, &device)));
            let mut expected = values(embeddings.clone());
            let (mut text, width) = (text, embeddings.dims()[2]);
            for place in rows.visual_tokens() {
                text[place * width..(place + 1) * width].fill(0.0);
                expected[place * width..(place + 1) * width].fill(0.0);
            }
            compare(&format!("{name} embeddings"), &text, &expected);
            let states = model.hidden_states(embeddings.clone(), &positions, &rows.mask(0, tokens, &device));
            for (nth, state) in states.into_iter().enumerate().skip(1) {
                let stage = format!("layers.{}", nth - 1);
                let expected = stages.read_f32(&stage).unwrap();
                compare(&format!("{name} {stage}"), &without_padding(&rows, state), &expected);
            }
            let hidden = vlm::run(&model, embeddings, &rows, 0, None, &device);
            let ours = without_padding(&rows, hidden.clone());
            compare(&format!("{name} norm"), &ours, &stages.read_f32("norm").unwrap());
            let ours = without_padding(&rows, logits(&model, hidden));
            compare(&format!("{name} logits"), &ours, &stages.read_f32("logits").unwrap());
        }
    }
}

#[test]
fn positions_equal_the_reference_with_padding_on_either_side() {
    for golden in [Golden::open("tiny-vl"), Golden::open("tiny-vl-flat")] {
        for (padding, key) in [(Padding::Left, "position_ids"), (Padding::Right, "right.position_ids")] {
            let rows = golden.batch(padding);
            let (batch, tokens) = (rows.batch(), rows.tokens());
            let ids = golden.stages.read_f32(key).unwrap();
            let axes = ids.chunks(batch * tokens).map(|axis| axis.iter().map(|id| *id as i32).collect()).collect();
            let expected = Positions::from_axes(axes, batch, tokens);
            assert_eq!(rows.positions(0, tokens), expected, "{} {key}", golden.name);
            assert_eq!(rows.positions(4, 9), expected.slice(4..9));
        }
        // What the reference adds to the number of tokens, to go on decoding.
        let deltas = golden.stages.read_f32("rope_deltas").unwrap();
        for (row, delta) in deltas.iter().enumerate() {
            let rows = golden.single(row);
            let next = rows.tokens() as i32 + *delta as i32;
            assert_eq!(rows.positions(rows.tokens(), rows.tokens() + 1).axis(0), [next]);
        }
    }
}

#[test]
fn greedy_tokens_equal_the_reference_with_and_without_the_cache() {
    let device = flex();
    for golden in NAMES.map(Golden::open) {
        let model = load(golden.name, &device);
        let text = std::fs::read_to_string(goldens(golden.name).join("greedy.json")).unwrap();
        for (row, case) in serde_json::from_str::<Vec<Value>>(&text).unwrap().iter().enumerate() {
            let expected: Vec<u32> = serde_json::from_value(case["greedy_ids"].clone()).unwrap();
            for cached in [false, true] {
                let mut rows = golden.single(row);
                let prompt = rows.tokens();
                let mut embeddings = golden.row_embeddings(row, &device);
                let mut cache = model.new_cache(1, prompt + expected.len(), &device);
                let (mut start, mut generated) = (0, vec![]);
                for _ in 0..expected.len() {
                    let part = embeddings.clone().narrow(1, start, rows.tokens() - start);
                    let hidden = vlm::run(&model, part, &rows, start, cached.then_some(&mut cache), &device);
                    let next = argmax(&last(logits(&model, hidden)));
                    generated.push(next);
                    start = if cached { rows.tokens() } else { 0 };
                    rows.push(&[next]);
                    let new = model.embed(rows.ids(rows.tokens() - 1, &device));
                    embeddings = Tensor::cat(vec![embeddings, new], 1);
                }
                assert_eq!(generated, expected, "{} row {row}, cached: {cached}", golden.name);
            }
        }
    }
}

#[test]
fn padding_chunks_and_batches_change_nothing() {
    let device = flex();
    for golden in NAMES.map(Golden::open) {
        let (name, model) = (golden.name, load(golden.name, &device));
        for row in 0..2 {
            let rows = golden.single(row);
            let embeddings = golden.row_embeddings(row, &device);
            let hidden = vlm::run(&model, embeddings.clone(), &rows, 0, None, &device);
            let alone = last(logits(&model, hidden));
            compare(&format!("{name} row {row} alone"), &alone, &golden.last_logits(row));

            // The second chunk begins inside an image.
            let mut cache = model.new_cache(1, rows.tokens(), &device);
            let (mut start, mut ours) = (0, vec![]);
            for chunk in [5, 1, 4, rows.tokens() - 10] {
                let part = embeddings.clone().narrow(1, start, chunk);
                ours = last(logits(&model, vlm::run(&model, part, &rows, start, Some(&mut cache), &device)));
                start += chunk;
            }
            compare(&format!("{name} row {row} in chunks"), &ours, &alone);
        }
        // One more token for both rows of a batch that is padded on the left, with the cache.
        let mut both = golden.batch(Padding::Left);
        let mut cache = model.new_cache(2, both.tokens() + 1, &device);
        vlm::run(&model, golden.embeddings(&device), &both, 0, Some(&mut cache), &device);
        let start = both.tokens();
        both.push(&[7, 8]);
        let new = model.embed(both.ids(start, &device));
        let together = values(logits(&model, vlm::run(&model, new, &both, start, Some(&mut cache), &device)));
        for (row, id) in [7, 8].into_iter().enumerate() {
            let mut rows = golden.single(row);
            rows.push(&[id]);
            let new = model.embed(rows.ids(rows.tokens() - 1, &device));
            let all = Tensor::cat(vec![golden.row_embeddings(row, &device), new], 1);
            let alone = last(logits(&model, vlm::run(&model, all, &rows, 0, None, &device)));
            let ours = &together[row * VOCABULARY..(row + 1) * VOCABULARY];
            compare(&format!("{name} row {row} decoded in a batch"), ours, &alone);
        }
    }
}

#[test]
fn a_future_token_never_changes_a_past_logit() {
    let device = flex();
    for name in NAMES {
        let model = load(name, &device);
        let logits = |row: &[u32]| {
            let rows = Sequences::single(row.to_vec(), None);
            let hidden = vlm::run(&model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
            values(logits(&model, hidden))
        };
        let row: Vec<u32> = (0..20).map(|n| (n * 7 + 3) % 60).collect();
        let mut changed = row.clone();
        changed[12] = 61;
        let (a, b) = (logits(&row), logits(&changed));
        assert_eq!(a[..12 * VOCABULARY], b[..12 * VOCABULARY], "{name}: a past logit changed");
        assert_ne!(a[12 * VOCABULARY..], b[12 * VOCABULARY..], "{name}: the changed token has no effect");
    }
}

#[test]
fn multimodal_positions_of_text_are_plain_positions() {
    let device = flex();
    let model = load("tiny-vl", &device);
    let rows = Sequences::single((3..20).collect(), None);
    let positions = image_positions(&rows, &[], 2).unwrap();
    let run = |rows: &Sequences| values(vlm::run(&model, model.embed(rows.ids(0, &device)), rows, 0, None, &device));
    let plain = run(&rows);
    assert_eq!(run(&rows.clone().with_positions(positions.clone())), plain);
    // Rows and columns have an effect.
    let mut axes: Vec<Vec<i32>> = (0..3).map(|axis| positions.axis(axis).to_vec()).collect();
    axes[1][5] += 3;
    assert_ne!(run(&rows.clone().with_positions(Positions::from_axes(axes, 1, 17))), plain);
}

#[test]
fn gradients_reach_every_parameter() {
    let device = flex().autodiff();
    for name in NAMES {
        let model = load(name, &device);
        let parameters = |model: &Qwen| collect_module(model).unwrap().names().len();
        let gradients = |model: &Qwen| {
            let rows = Sequences::single((0..20).collect(), None);
            let hidden = vlm::run(model, model.embed(rows.ids(0, &device)), &rows, 0, None, &device);
            let logits = logits(model, hidden);
            let target = Tensor::random(logits.dims(), Distribution::Default, &device);
            let loss = (logits * target).square().sum();
            burn::optim::GradientsParams::from_grads(loss.backward(), model).len()
        };
        assert_eq!(gradients(&model), parameters(&model), "{name}: a parameter has no gradient");
        let targets = ["q_proj", "v_proj", "down_proj"].map(str::to_owned);
        let (layers, before) = (model.layers.len(), parameters(&model));
        let adapted = model.attach_lora(&targets, &LoraAdapterConfig::new(2, 4.0));
        assert_eq!(parameters(&adapted), before + layers * 3 * 2, "{name}: two matrices for each adapted layer");
        // The adapted layers' own weights and the biases of q and v are frozen.
        assert_eq!(gradients(&adapted), before + layers * 3 * 2 - layers * 5, "{name}");
    }
}
