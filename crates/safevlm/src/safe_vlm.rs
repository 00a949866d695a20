//! The one type an application needs.

use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use safevlm_core::{Conversation, DeviceSpec, RgbImage, Taxonomy, Verdict};
use safevlm_nn::{CausalLm, Padding, Sequences};
use serde_json::Value;

use crate::answer::{Answer, GenerationConfig, Timing};
use crate::error::Error;
use crate::generate::{generate, last_state, to_vec};
use crate::loaded::Loaded;

/// Images that the guard looks at in one forward pass.
const GUARD_BATCH: usize = 8;
/// Larger than any real JSON file beside a checkpoint.
const JSON_LIMIT: u64 = 64 << 20;

/// How a model is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceSpec,
    /// An image is flagged from this probability of being unsafe on, 0 to 1.
    pub threshold: f32,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: DeviceSpec::Auto, threshold: 0.5 }
    }
}

/// A loaded Safe-VLM.
#[derive(Debug)]
pub struct SafeVlm {
    name: String,
    loaded: Loaded,
    device: Device,
    spec: DeviceSpec,
    threshold: f32,
    eos: Vec<u32>,
    load_ms: f64,
}

impl SafeVlm {
    /// Loads a model folder as the Hugging Face hub lays it out.
    ///
    /// # Errors
    ///
    /// If the folder is no model this build knows, a file is damaged, a tensor is missing, left over
    /// or of another shape, or the device cannot be used.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let begin = Instant::now();
        let (device, spec) = options.device.open()?;
        let loaded = Loaded::load(dir, &device)?;
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self {
            name,
            loaded,
            device,
            spec,
            threshold: options.threshold,
            eos: eos_tokens(dir)?,
            load_ms: millis(begin),
        })
    }

    /// The model's name: that of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device it runs on.
    pub fn device(&self) -> &DeviceSpec {
        &self.spec
    }

    /// Time that loading took, in milliseconds.
    pub fn load_ms(&self) -> f64 {
        self.load_ms
    }

    /// A verdict on each image, from one prefill over its visual tokens.
    ///
    /// # Errors
    ///
    /// If the model has no guard head, or its probabilities are no numbers: never a silent "safe".
    pub fn guard(&self, images: &[&RgbImage]) -> Result<Vec<Verdict>, Error> {
        let taxonomy = self.loaded.taxonomy().ok_or_else(|| Error::NoGuard { name: self.name.clone() })?;
        let mut verdicts = Vec::with_capacity(images.len());
        let prompt = self.guard_prompt()?;
        for batch in images.chunks(GUARD_BATCH) {
            let rows = vec![prompt.clone(); batch.len()];
            let sequences = Sequences::new(rows, self.loaded.image_token(), 0, Padding::Right);
            let pixels = self.loaded.pixels(batch, &self.device)?;
            let output = self.loaded.prefill(&sequences, pixels, None, &self.device)?;
            verdicts.extend(self.verdicts(output.guard, taxonomy)?);
        }
        Ok(verdicts)
    }

    /// Answers the conversation's last turn and gives the verdict on its images. `on_text` gets the
    /// text as it is generated, in whole characters.
    ///
    /// # Errors
    ///
    /// If the conversation does not fit the model or its context, a setting is out of range, or the
    /// device fails.
    pub fn chat(
        &self,
        conversation: &Conversation,
        config: &GenerationConfig,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Answer, Error> {
        let begin = Instant::now();
        if config.max_new_tokens == 0 {
            return Err(Error::NoTokens);
        }
        if conversation.has_images() && !self.loaded.sees_images() {
            return Err(Error::NoVision { name: self.name.clone() });
        }
        let prompt = self.loaded.prompt(conversation)?;
        let context = self.loaded.context();
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() >= context {
            return Err(Error::ContextLength { prompt: prompt.len(), context });
        }
        let limit = config.max_new_tokens.min(context - prompt.len());
        let images: Vec<&RgbImage> = conversation.images.iter().map(AsRef::as_ref).collect();
        let pixels = self.loaded.pixels(&images, &self.device)?;
        let preprocess_ms = millis(begin);

        let begin = Instant::now();
        let sequences = Sequences::single(prompt.clone(), self.loaded.image_token());
        let language_model = self.loaded.language_model();
        let mut cache = language_model.new_cache(1, prompt.len() + limit, &self.device);
        let output = self.loaded.prefill(&sequences, pixels, Some(&mut cache), &self.device)?;
        let safety = match self.loaded.taxonomy() {
            Some(taxonomy) => most_unsafe(self.verdicts(output.guard, taxonomy)?),
            None => None,
        };
        let last = last_state(output.hidden);
        let prefill_ms = millis(begin);

        let begin = Instant::now();
        let generated = generate(
            language_model,
            self.loaded.tokenizer(),
            sequences,
            last,
            &mut cache,
            config,
            limit,
            &self.eos,
            &self.device,
            on_text,
        )?;
        let decode_ms = millis(begin);
        let tokens_per_second = generated.tokens.len() as f64 / (decode_ms / 1000.0).max(1e-9);
        Ok(Answer {
            model: self.name.clone(),
            device: self.spec.to_string(),
            prompt_tokens: prompt,
            generated_tokens: generated.tokens,
            text: generated.text,
            finish_reason: generated.finish_reason,
            safety,
            timing: Timing { load_ms: self.load_ms, preprocess_ms, prefill_ms, decode_ms, tokens_per_second },
        })
    }

    /// The prompt of one image up to its last visual token: attention is causal, so that nothing
    /// behind it can change the verdict.
    fn guard_prompt(&self) -> Result<Vec<u32>, Error> {
        let picture = std::sync::Arc::new(RgbImage::new(1, 1));
        let mut prompt = self.loaded.prompt(&Conversation::new().user("", [picture]))?;
        let last = prompt.iter().rposition(|id| Some(*id) == self.loaded.image_token());
        prompt.truncate(last.map_or(0, |last| last + 1));
        Ok(prompt)
    }

    fn verdicts(&self, logits: Option<burn::tensor::Tensor<2>>, taxonomy: &Taxonomy) -> Result<Vec<Verdict>, Error> {
        let Some(logits) = logits else { return Ok(Vec::new()) };
        let [_, classes] = logits.dims();
        let logits = to_vec(logits)?;
        let rows = logits.chunks(classes.max(1)).map(softmax);
        rows.map(|row| Ok(Verdict::from_probabilities(&row, taxonomy, self.threshold)?)).collect()
    }
}

fn most_unsafe(verdicts: Vec<Verdict>) -> Option<Verdict> {
    verdicts.into_iter().max_by(|a, b| a.unsafe_probability.total_cmp(&b.unsafe_probability))
}

/// Probabilities of one row of logits. NaN stays NaN, so that the verdict refuses it.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|l| f64::from(l - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| (p / sum) as f32).collect()
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Reads a JSON file of a model folder, but no more than the limit of it.
pub(crate) fn read_json(path: &Path) -> Result<Value, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > JSON_LIMIT {
        return Err(read(std::io::Error::other("larger than 64 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// End-of-turn ids: from generation_config.json, else from config.json.
fn eos_tokens(dir: &Path) -> Result<Vec<u32>, Error> {
    for file in ["generation_config.json", "config.json"] {
        let path = dir.join(file);
        if !path.exists() {
            continue;
        }
        let ids = match read_json(&path)?.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_u64).collect(),
            Some(Value::Number(id)) => id.as_u64().into_iter().collect(),
            _ => Vec::new(),
        };
        if !ids.is_empty() {
            return Ok(ids.into_iter().filter_map(|id: u64| u32::try_from(id).ok()).collect());
        }
    }
    Ok(Vec::new())
}
