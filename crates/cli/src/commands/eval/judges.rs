//! The judges by name.

use clap::ValueEnum;
use safevlm_eval::{Judge, OfficialString};

/// Who says whether an answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JudgeName {
    /// HoliSafe-Bench's own string matcher, with its oddities: comparable with published tables.
    OfficialString,
}

impl JudgeName {
    /// Makes the judge.
    pub(crate) fn judge(self) -> Box<dyn Judge> {
        match self {
            Self::OfficialString => Box::new(OfficialString),
        }
    }
}
