//! What every part of SafeVLM shares and no model owns: the 20 classes, the [`Verdict`], the
//! [`Conversation`], decoding of untrusted images and what processors make of them, settings out of
//! JSON files, and the choice of a [`DeviceSpec`].
//!
//! Nothing here knows the layout of a model's tensors. [`device`] opens Burn's devices, [`host`] reads tensors that
//! lie in main memory, [`gradients`] lets gradients flow through what is computed there, and [`profile`] tells where
//! the time goes.

pub mod canvas;
pub mod conversation;
pub mod device;
pub mod fields;
pub mod gradients;
pub mod host;
pub mod image;
pub mod image_processor;
pub mod pixels;
pub mod profile;
pub mod resize;
pub mod taxonomy;
pub mod threads;
pub mod verdict;
pub mod view;

pub use conversation::{Conversation, Message, Part, Role};
pub use device::{AvailableDevice, DeviceError, DeviceSpec};
pub use fields::{FieldError, Fields};
pub use image::{ImageError, ImageLimits, RgbImage, decode_image, load_image};
pub use image_processor::{ImageProcessor, ProcessorDefaults};
pub use taxonomy::{CLASSES, Category, Class, Taxonomy, TaxonomyError};
pub use verdict::{Verdict, VerdictError};
pub use view::View;

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
