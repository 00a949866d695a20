//! From a conversation to token ids and from token ids to text, as the checkpoint's own files say.

mod error;
mod stream;
mod template;
mod tokenizer;

pub use error::TextError;
pub use stream::TextStream;
pub use template::ChatTemplate;
pub use tokenizer::TextTokenizer;
