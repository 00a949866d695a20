//! From a conversation to token ids and from token ids to text, as the checkpoint's own files say.

mod clock;
mod error;
mod guard;
mod json;
mod llama;
mod neutral;
mod probe;
mod protobuf;
mod published;
mod sentencepiece;
mod stream;
mod template;
mod tokenizer;

pub use error::TextError;
pub use protobuf::WireError;
pub use published::PublishedTemplate;
pub use sentencepiece::SentencePieceError;
pub use stream::TextStream;
pub use template::ChatTemplate;
pub use tokenizer::TextTokenizer;
