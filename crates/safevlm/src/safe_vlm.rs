//! The one type an application needs.

mod heatmap;
mod perplexity;
mod shared;

pub use perplexity::Perplexity;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use safevlm_core::profile::stage;
use safevlm_core::{Conversation, DeviceSpec, RgbImage, Verdict};
use safevlm_family::{CONFIG_FILE, Family, Inputs, LoadOptions as WeightOptions, Loaded, eos_tokens, read_json};
use safevlm_nn::{CausalLm, KvCache, Padding, VlmOutput};

use crate::answer::{Answer, GenerationConfig, Timing};
use crate::error::Error;
use crate::generate::{generate, last_state, to_vec};
use crate::loaded::{AnyModel, Load, with_family};
use shared::{go_on, shared_beginning};

/// Images that the guard looks at in one forward pass.
const GUARD_BATCH: usize = 8;

/// How a model is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceSpec,
    /// An image is flagged from this probability of being unsafe on, 0 to 1.
    pub threshold: f32,
    /// The type that is computed in, and a LoRA adapter to merge.
    pub weights: WeightOptions,
    /// Tokens for which there must be memory before anything is loaded; none to try whatever there is.
    pub context: Option<usize>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { device: DeviceSpec::Auto, threshold: 0.5, weights: WeightOptions::default(), context: Some(2048) }
    }
}

/// A loaded Safe-VLM.
#[derive(Debug)]
pub struct SafeVlm {
    name: String,
    model: AnyModel,
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
    /// or of another shape, the device cannot be used, or there is not enough memory.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let begin = Instant::now();
        let (device, spec) = options.device.open()?;
        let config = read_json(&dir.join(CONFIG_FILE))?;
        let context = options.context.filter(|_| spec == DeviceSpec::Flex);
        let load = Load { dir, config: &config, options: &options.weights, context, device: &device };
        let model = with_family(&dir.join(CONFIG_FILE), &config, load)?;
        let name = dir.file_name().map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into_owned());
        Ok(Self {
            name,
            model,
            device,
            spec,
            threshold: options.threshold,
            eos: eos_tokens(dir, &config)?,
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

    /// The type of the weights: `f32`, `f16`, `bf16`, or the format of the language model's matrices where they are
    /// multiplied in blocks of few bits, such as `q8_0`.
    pub fn weights(&self) -> &str {
        with_model!(&self.model, loaded => &loaded.weights)
    }

    /// Time that loading took, in milliseconds.
    pub fn load_ms(&self) -> f64 {
        self.load_ms
    }

    /// The guard's labels, in the order of the class ids; none for a model without a guard head.
    pub fn labels(&self) -> Option<&[String]> {
        with_model!(&self.model, loaded => loaded.taxonomy().map(|taxonomy| taxonomy.labels()))
    }

    /// A verdict on each image, from one prefill over its visual tokens.
    ///
    /// # Errors
    ///
    /// If the model has no guard head, or its probabilities are no numbers: never a silent "safe".
    pub fn guard(&self, images: &[&RgbImage]) -> Result<Vec<Verdict>, Error> {
        with_model!(&self.model, loaded => self.guard_with(loaded, images))
    }

    fn guard_with<F: Family>(&self, loaded: &Loaded<F>, images: &[&RgbImage]) -> Result<Vec<Verdict>, Error> {
        if loaded.taxonomy().is_none() {
            return Err(Error::NoGuard { name: self.name.clone() });
        }
        let mut verdicts = Vec::with_capacity(images.len());
        for batch in images.chunks(GUARD_BATCH) {
            let rows = batch.iter().map(|image| guard_prompt(&loaded.family, image)).collect::<Result<_, _>>()?;
            let inputs = stage("preprocess", &self.device, || {
                loaded.family.inputs_of(rows, Padding::Right, batch, &self.device)
            })?;
            verdicts.extend(self.verdicts(loaded, prefill(loaded, &inputs, None, &self.device)?)?);
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
        let one = std::slice::from_ref(conversation);
        let answers = with_model!(&self.model, loaded =>
            self.chat_with(loaded, one, config, &mut |_, text| on_text(text)))?;
        // One conversation, one answer.
        answers.into_iter().next().ok_or(Error::EmptyPrompt)
    }

    /// Answers several conversations in one go, as [`chat`](Self::chat) does each of them up to rounding: short
    /// prompts wait for long ones, and each answer for the longest, so that conversations of like length belong
    /// together. Conversations about the same pictures share what their prompts begin with, pictures included: it is
    /// computed once. The timing of each answer is that of all.
    ///
    /// # Errors
    ///
    /// As [`chat`](Self::chat), for whichever conversation is at fault.
    pub fn chat_batch(&self, conversations: &[Conversation], config: &GenerationConfig) -> Result<Vec<Answer>, Error> {
        if conversations.is_empty() {
            return Ok(Vec::new());
        }
        with_model!(&self.model, loaded => self.chat_with(loaded, conversations, config, &mut |_, _| {}))
    }

    fn chat_with<F: Family>(
        &self,
        loaded: &Loaded<F>,
        conversations: &[Conversation],
        config: &GenerationConfig,
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<Vec<Answer>, Error> {
        let begin = Instant::now();
        let prompts =
            conversations.iter().map(|each| self.prompt(loaded, each, config)).collect::<Result<Vec<_>, _>>()?;
        let images: Vec<Vec<&RgbImage>> =
            conversations.iter().map(|each| each.images.iter().map(AsRef::as_ref).collect()).collect();
        self.answer_with(loaded, begin, prompts, &images, config, on_text)
    }

    /// Continues rows of token ids, which may have any length that fits the context, as they are: without a
    /// template, and without images.
    ///
    /// # Errors
    ///
    /// If a row is empty, does not fit the context or has an id that the model has not, a setting is out of
    /// range, or the device fails.
    pub fn complete(&self, rows: &[Vec<u32>], config: &GenerationConfig) -> Result<Vec<Answer>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let images = vec![Vec::new(); rows.len()];
        with_model!(&self.model, loaded => {
            rows.iter().try_for_each(|row| self.check_prompt(loaded, row, config))?;
            self.answer_with(loaded, Instant::now(), rows.to_vec(), &images, config, &mut |_, _| {})
        })
    }

    /// The number of token ids that the model knows.
    pub fn vocabulary(&self) -> usize {
        with_model!(&self.model, loaded => loaded.vocabulary())
    }

    fn answer_with<F: Family>(
        &self,
        loaded: &Loaded<F>,
        begin: Instant,
        prompts: Vec<Vec<u32>>,
        images: &[Vec<&RgbImage>],
        config: &GenerationConfig,
        on_text: &mut dyn FnMut(usize, &str),
    ) -> Result<Vec<Answer>, Error> {
        let context = loaded.context();
        let limits: Vec<usize> =
            prompts.iter().map(|prompt| config.max_new_tokens.min(context - prompt.len())).collect();
        let shared = shared_beginning(&prompts, images, loaded.family.image_token());
        let (rows, pictures) = match shared {
            Some(tokens) => (vec![prompts[0][..tokens].to_vec()], images[0].clone()),
            None => (prompts.clone(), images.concat()),
        };
        let inputs = stage("preprocess", &self.device, || {
            loaded.family.inputs_of(rows, Padding::Left, &pictures, &self.device)
        })?;
        let preprocess_ms = millis(begin);

        let begin = Instant::now();
        let language_model = &loaded.model.language_model;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let room = longest + limits.iter().max().copied().unwrap_or(0);
        let mut cache = language_model.new_cache(inputs.sequences.batch(), room, &self.device);
        let output = prefill(loaded, &inputs, Some(&mut cache), &self.device)?;
        let (sequences, last) = match shared {
            Some(tokens) => {
                let endings: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt[tokens..].to_vec()).collect();
                go_on(language_model, inputs.sequences, &endings, &mut cache, &self.device)
            }
            None => (inputs.sequences, last_state(output.hidden.clone())),
        };
        // A model without a guard gives no verdict, and each conversation takes those of its own images.
        let verdicts = self.verdicts(loaded, output)?;
        let safety: Vec<Option<Verdict>> = match shared {
            Some(_) => vec![most_unsafe(verdicts.into_iter()); prompts.len()],
            None => {
                let mut verdicts = verdicts.into_iter();
                images.iter().map(|own| most_unsafe(verdicts.by_ref().take(own.len()))).collect()
            }
        };
        let prefill_ms = millis(begin);

        let begin = Instant::now();
        let generated = generate(
            language_model,
            loaded.family.tokenizer(),
            sequences,
            last,
            &mut cache,
            config,
            &limits,
            if config.ignore_eos { &[] } else { &self.eos },
            &self.device,
            on_text,
        )?;
        let decode_ms = millis(begin);
        let tokens: usize = generated.iter().map(|row| row.tokens.len()).sum();
        let tokens_per_second = tokens as f64 / (decode_ms / 1000.0).max(1e-9);
        let timing = Timing { load_ms: self.load_ms, preprocess_ms, prefill_ms, decode_ms, tokens_per_second };
        let rows = prompts.into_iter().zip(generated).zip(safety);
        Ok(rows
            .map(|((prompt_tokens, generated), safety)| Answer {
                model: self.name.clone(),
                device: self.spec.to_string(),
                prompt_tokens,
                generated_tokens: generated.tokens,
                text: generated.text,
                finish_reason: generated.finish_reason,
                safety,
                timing,
            })
            .collect())
    }

    /// The token ids of a conversation that can be answered.
    fn prompt<F: Family>(
        &self,
        loaded: &Loaded<F>,
        conversation: &Conversation,
        config: &GenerationConfig,
    ) -> Result<Vec<u32>, Error> {
        if conversation.has_images() && loaded.family.image_token().is_none() {
            return Err(Error::NoVision { name: self.name.clone() });
        }
        let prompt = loaded.family.prompt(conversation)?;
        self.check_prompt(loaded, &prompt, config)?;
        Ok(prompt)
    }

    fn check_prompt<F: Family>(
        &self,
        loaded: &Loaded<F>,
        prompt: &[u32],
        config: &GenerationConfig,
    ) -> Result<(), Error> {
        let (context, vocabulary) = (loaded.context(), loaded.vocabulary());
        if config.max_new_tokens == 0 {
            return Err(Error::NoTokens);
        }
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() >= context {
            return Err(Error::ContextLength { prompt: prompt.len(), context });
        }
        let image = loaded.family.image_token();
        match prompt.iter().find(|id| **id as usize >= vocabulary && Some(**id) != image) {
            Some(id) => Err(Error::UnknownToken { id: *id, vocabulary }),
            None => Ok(()),
        }
    }

    /// The verdicts in a prefill's output: none without a guard head or images.
    fn verdicts<F: Family>(&self, loaded: &Loaded<F>, output: VlmOutput) -> Result<Vec<Verdict>, Error> {
        let (Some(logits), Some(taxonomy)) = (output.guard, loaded.taxonomy()) else { return Ok(Vec::new()) };
        let [_, classes] = logits.dims();
        let logits = to_vec(logits)?;
        let rows = logits.chunks(classes.max(1)).map(softmax);
        rows.map(|row| Ok(Verdict::from_probabilities(&row, taxonomy, self.threshold)?)).collect()
    }
}

/// Vision encoder, projector, language model over whole sequences, and the guard over their images.
fn prefill<F: Family>(
    loaded: &Loaded<F>,
    inputs: &Inputs<F>,
    cache: Option<&mut KvCache>,
    device: &Device,
) -> Result<VlmOutput, Error> {
    let visual = inputs.pixels.clone().map(|pixels| loaded.model.visual_tokens(pixels, device));
    Ok(loaded.model.forward(&inputs.sequences, visual, cache, device)?)
}

/// The prompt of one image up to its last visual token: no language model lets an image see what stands
/// behind it, so that nothing there can change the verdict.
fn guard_prompt<F: Family>(family: &F, image: &RgbImage) -> Result<Vec<u32>, Error> {
    // A stand-in of one pixel: an image of many megapixels need not be copied for its prompt.
    let conversation = Conversation::new().user("", [Arc::new(RgbImage::new(1, 1))]);
    let mut prompt = family.prompt_for(&conversation, &[image.dimensions()])?;
    let last = prompt.iter().rposition(|id| Some(*id) == family.image_token());
    prompt.truncate(last.map_or(0, |last| last + 1));
    Ok(prompt)
}

fn most_unsafe(verdicts: impl Iterator<Item = Verdict>) -> Option<Verdict> {
    verdicts.max_by(|a, b| a.unsafe_probability.total_cmp(&b.unsafe_probability))
}

/// Probabilities of one row of logits. NaN stays NaN, so that the verdict refuses it.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|l| f64::from(l - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| (p / sum) as f32).collect()
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
