//! What cannot be quantized, or is no quantized weight.

use super::BlockFormat;

/// One sentence that says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A name that is no format.
    #[error("`{0}` is no weight format: choose q8_0, q4_0, q4_1, q4_k, q6_k, f16 or bf16")]
    UnknownFormat(String),

    /// Rows that are no whole number of blocks.
    #[error(
        "rows of {columns} values cannot be {format}, whose blocks have {block}: choose a format whose blocks divide \
         the row, such as q8_0 for multiples of 32, or f16"
    )]
    RowLength {
        /// The format asked for.
        format: BlockFormat,
        /// Values of a row.
        columns: usize,
        /// Values of a block.
        block: usize,
    },

    /// Bytes that end before the weight does.
    #[error(
        "a weight of {rows} x {columns} in {format} has {expected} bytes, and {found} are there: the file is cut off \
         or its shape is wrong, fetch or export it again"
    )]
    TooFewBytes {
        /// The weight's format.
        format: BlockFormat,
        /// Outputs.
        rows: usize,
        /// Inputs.
        columns: usize,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes after the offset.
        found: usize,
    },

    /// A shape whose size is no number of this machine.
    #[error("a weight of {rows} x {columns} is larger than this machine can address: correct its shape")]
    TooLarge {
        /// Outputs.
        rows: usize,
        /// Inputs.
        columns: usize,
    },

    /// Values that are no whole number of rows.
    #[error("{values} values are no rows of {columns}: give whole rows")]
    Ragged {
        /// Values given.
        values: usize,
        /// Values of a row.
        columns: usize,
    },

    /// A value that is no number.
    #[error("the weight's value in row {row}, column {column} is NaN or infinite: fetch or export the weights again")]
    NotFinite {
        /// The value's row.
        row: usize,
        /// The value's column.
        column: usize,
    },

    /// A value beyond the format's range.
    #[error("the weight's row {row} has values near column {column} that are too large for {format}: choose bf16")]
    OutOfRange {
        /// The format asked for.
        format: BlockFormat,
        /// The value's row.
        row: usize,
        /// The first column of its block.
        column: usize,
    },

    /// A row that the weight does not have.
    #[error("row {row} is asked of a weight that has {rows}: use the vocabulary that belongs to the model")]
    NoRow {
        /// The row asked for.
        row: usize,
        /// The rows there are.
        rows: usize,
    },
}
