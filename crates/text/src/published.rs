//! Chat templates that their makers publish, for folders that have none.

use crate::error::TextError;
use crate::template::ChatTemplate;

/// A chat template by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishedTemplate {
    /// `llava-hf`: LLaVA-1.5 as the `llava-hf` conversions' `chat_template.json` has it: no system sentence, a
    /// space behind every text, no `</s>` behind an answer. Images are `<image>`.
    LlavaHf,
    /// `llava_v1`: `conv_llava_v1` of the original LLaVA code, which SafeLLaVA's sample uses: "A chat between
    /// a curious human ..", `</s>` behind an answer. Images are `<image>`.
    LlavaV1,
    /// `vicuna_v1`: `conv_vicuna_v1` of the same code, with which LLaVA-1.5 was trained and evaluated: as
    /// `llava_v1`, but "a curious user" and "the user's questions".
    VicunaV1,
    /// `qwen2.5-vl`: `chat_template.json` of Qwen2.5-VL's instruct checkpoints. An image is `<|image_pad|>`
    /// between `<|vision_start|>` and `<|vision_end|>`.
    Qwen25Vl,
    /// `gemma3`: `chat_template.json` of Gemma 3's instruct checkpoints. The system prompt opens the first
    /// user turn; an image is `<start_of_image>`.
    Gemma3,
}

impl PublishedTemplate {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::LlavaHf, Self::LlavaV1, Self::VicunaV1, Self::Qwen25Vl, Self::Gemma3];

    /// The template's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LlavaHf => "llava-hf",
            Self::LlavaV1 => "llava_v1",
            Self::VicunaV1 => "vicuna_v1",
            Self::Qwen25Vl => "qwen2.5-vl",
            Self::Gemma3 => "gemma3",
        }
    }

    /// The template called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// What the template writes where an image is.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Self::LlavaHf | Self::LlavaV1 | Self::VicunaV1 => "<image>",
            Self::Qwen25Vl => "<|image_pad|>",
            Self::Gemma3 => "<start_of_image>",
        }
    }

    /// The Jinja source.
    pub fn source(self) -> String {
        let vicuna = |system: &str| {
            let sentence = format!("{{%- set default_system = \"{system}\" -%}}\n");
            sentence + include_str!("templates/vicuna-v1.jinja")
        };
        match self {
            Self::LlavaHf => include_str!("templates/llava-hf.jinja").to_owned(),
            Self::LlavaV1 => vicuna(
                "A chat between a curious human and an artificial intelligence assistant. \
                 The assistant gives helpful, detailed, and polite answers to the human's questions.",
            ),
            Self::VicunaV1 => vicuna(
                "A chat between a curious user and an artificial intelligence assistant. \
                 The assistant gives helpful, detailed, and polite answers to the user's questions.",
            ),
            Self::Qwen25Vl => include_str!("templates/qwen2.5-vl.jinja").to_owned(),
            Self::Gemma3 => include_str!("templates/gemma3.jinja").to_owned(),
        }
    }

    /// The template, ready to render, with the tokens that its checkpoints have.
    ///
    /// # Errors
    ///
    /// None that a caller can cause.
    pub fn template(self) -> Result<ChatTemplate, TextError> {
        let (bos, eos) = match self {
            Self::LlavaHf | Self::LlavaV1 | Self::VicunaV1 => ("<s>", "</s>"),
            Self::Qwen25Vl => ("", "<|im_end|>"),
            Self::Gemma3 => ("<bos>", "<eos>"),
        };
        ChatTemplate::new(self.source(), bos.to_owned(), eos.to_owned())
    }
}
