//! Vision-language models that answer questions about images and say, from the same forward pass,
//! whether the image is harmful and in which of 20 ways.
//!
//! ```no_run
//! use safevlm::{LoadOptions, SafeVlm, registry};
//!
//! let dir = registry::resolve("safe-smol")?;
//! let model = SafeVlm::load(&dir, &LoadOptions::default())?;
//! let image = safevlm::load_image("photo.jpg", &Default::default())?;
//! let verdict = &model.guard(&[&image])?[0];
//! println!("{} {:.2}", verdict.label, verdict.unsafe_probability);
//! # Ok::<(), safevlm::Error>(())
//! ```

mod answer;
mod attach;
mod error;
mod generate;
mod heatmap;
mod inspect;
#[macro_use]
mod loaded;
pub mod registry;
mod safe_vlm;
mod text_only;

pub use answer::{Answer, FinishReason, GenerationConfig, Timing};
pub use attach::attach_guard;
pub use error::Error;
pub use heatmap::{Heatmap, Peak};
pub use inspect::{InspectOptions, Inspection, Parameters, inspect, inspect_published, published_names};
pub use safe_vlm::{LoadOptions, Perplexity, SafeVlm};
pub use safevlm_core::{
    CLASSES, Category, Class, Conversation, DeviceError, DeviceSpec, ImageError, ImageLimits, Message, Part, RgbImage,
    Role, Taxonomy, Verdict, VerdictError, View, decode_image, device::available, load_image,
};
pub use safevlm_family::{FamilyError, LoadOptions as WeightOptions, TokenGrid};
pub use safevlm_weights::{Cache, FloatDtype, Quantization, merge_adapter};
