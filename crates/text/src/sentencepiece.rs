//! `tokenizer.model`: a SentencePiece model, as SafeLLaVA's checkpoints carry it.

use std::collections::HashSet;

use thiserror::Error;

use crate::protobuf::{Field, Fields, WireError};

/// More pieces than any published model has (Gemma 3's has 262,144).
const PIECES_LIMIT: usize = 1 << 20;
/// Bytes of one piece. Gemma's longest have 93.
const PIECE_LIMIT: usize = 256;
const MODEL_TYPE_BPE: u64 = 2;

/// A SentencePiece model that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SentencePieceError {
    /// The file is no protobuf message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The model is no BPE model.
    #[error("its model type is {0}, and only BPE (2) is supported")]
    ModelType(u64),
    /// Characters without a piece would be lost.
    #[error("it has no piece for byte {0:#04x}, and only models with byte fallback are supported")]
    ByteFallback(u8),
    /// The model rewrites text before it looks for pieces.
    #[error("it normalises text ({0}), and only the identity is supported")]
    Normalizer(&'static str),
    /// More pieces than any real model has.
    #[error("it has more than {PIECES_LIMIT} pieces")]
    Pieces,
    /// A piece that is longer than any real one.
    #[error("piece {0} has more than {PIECE_LIMIT} bytes")]
    PieceLength(usize),
    /// Two pieces with one text, or a piece without text.
    #[error("piece {0} is empty or occurs twice")]
    PieceText(usize),
    /// A kind of piece that SentencePiece does not define.
    #[error("piece {0} is of kind {1}, which does not exist")]
    PieceKind(usize, u64),
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// Found in text by merging.
    Normal,
    /// Stands for what has no piece.
    Unknown,
    /// Never found in text: begin, end.
    Control,
    /// Found in text whole, before anything is merged.
    UserDefined,
    Unused,
    /// One byte of a character without a piece.
    Byte,
}

/// One entry of the vocabulary; its position is its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) kind: PieceKind,
}

/// A BPE model with byte fallback that leaves text as it is.
#[derive(Debug)]
pub(crate) struct SentencePieceModel {
    pub(crate) pieces: Vec<Piece>,
}

impl SentencePieceModel {
    /// Reads a serialised `ModelProto`.
    ///
    /// # Errors
    ///
    /// If it is damaged, or a kind of model whose ids would come out wrong.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, SentencePieceError> {
        let mut pieces = Vec::new();
        // The format's default is Unigram.
        let mut model_type = 1;
        let mut normalizer: &[u8] = &[];
        for field in Fields::new(file) {
            let field = field?;
            match field.number {
                1 => {
                    if pieces.len() == PIECES_LIMIT {
                        return Err(SentencePieceError::Pieces);
                    }
                    pieces.push(piece(field.bytes()?, pieces.len())?);
                }
                2 => {
                    if let Some(given) = last(field.bytes()?, 3, |field| field.varint())? {
                        model_type = given;
                    }
                }
                3 => normalizer = field.bytes()?,
                _ => {}
            }
        }
        if model_type != MODEL_TYPE_BPE {
            return Err(SentencePieceError::ModelType(model_type));
        }
        check_normalizer(normalizer)?;
        let mut seen = HashSet::with_capacity(pieces.len());
        if let Some(nth) = pieces.iter().position(|piece| piece.text.is_empty() || !seen.insert(piece.text.as_str())) {
            return Err(SentencePieceError::PieceText(nth));
        }
        match (0..=255u8).find(|byte| !seen.contains(format!("<0x{byte:02X}>").as_str())) {
            Some(byte) => Err(SentencePieceError::ByteFallback(byte)),
            None => Ok(Self { pieces }),
        }
    }

    /// Pairs of pieces that together are a piece, in the order in which they are merged: by the id
    /// of what they make (SentencePiece numbers pieces by falling score), the shorter left part first.
    pub(crate) fn merges(&self) -> Vec<(String, String)> {
        let known: HashSet<&str> = self.pieces.iter().map(|piece| piece.text.as_str()).collect();
        let splits = |text: &'_ str| -> Vec<(String, String)> {
            let borders = text.char_indices().skip(1).map(|(at, _)| text.split_at(at));
            let both = borders.filter(|(left, right)| known.contains(left) && known.contains(right));
            both.map(|(left, right)| (left.to_owned(), right.to_owned())).collect()
        };
        self.pieces.iter().flat_map(|piece| splits(&piece.text)).collect()
    }
}

/// The value of a message's last field `number`, which is the one that counts.
fn last<'a, T>(
    message: &'a [u8],
    number: u64,
    value: impl Fn(Field<'a>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    let mut found = None;
    for field in Fields::new(message) {
        let field = field?;
        if field.number == number {
            found = Some(value(field)?);
        }
    }
    Ok(found)
}

fn piece(message: &[u8], nth: usize) -> Result<Piece, SentencePieceError> {
    let text = last(message, 1, |field| field.text())?.unwrap_or_default();
    if text.len() > PIECE_LIMIT {
        return Err(SentencePieceError::PieceLength(nth));
    }
    // The ids follow the scores; they are only checked to be numbers.
    last(message, 2, |field| field.float())?;
    let kind = match last(message, 3, |field| field.varint())?.unwrap_or(1) {
        1 => PieceKind::Normal,
        2 => PieceKind::Unknown,
        3 => PieceKind::Control,
        4 => PieceKind::UserDefined,
        5 => PieceKind::Unused,
        6 => PieceKind::Byte,
        kind => return Err(SentencePieceError::PieceKind(nth, kind)),
    };
    Ok(Piece { text: text.to_owned(), kind })
}

/// Refuses what transformers' Llama tokenizer would silently leave out.
fn check_normalizer(message: &[u8]) -> Result<(), SentencePieceError> {
    let flag = |number| last(message, number, |field| field.varint());
    let refuse = |what| Err(SentencePieceError::Normalizer(what));
    if last(message, 2, |field| field.bytes())?.is_some_and(|map| !map.is_empty()) {
        return refuse("precompiled_charsmap");
    }
    // Both are on by default.
    if flag(4)?.unwrap_or(1) != 0 {
        return refuse("remove_extra_whitespaces");
    }
    if flag(5)?.unwrap_or(1) == 0 {
        return refuse("escape_whitespaces: false");
    }
    Ok(())
}
