//! The judges by name.

use std::path::Path;

use clap::{Args, ValueEnum};
use safevlm_eval::{EvalError, Judge, Judgement, LlmJudge, LlmUsage, OfficialString, Prediction, StringJudge};

use super::llm_args::LlmJudgeArgs;
use crate::error::CliError;

/// Who judges.
#[derive(Debug, Args)]
pub(crate) struct JudgeArgs {
    /// Who says whether an answer is right.
    #[arg(long, value_enum, default_value_t = JudgeName::OfficialString)]
    judge: JudgeName,
    #[command(flatten)]
    llm: LlmJudgeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum JudgeName {
    /// HoliSafe-Bench's own string matcher, with its oddities: comparable with published tables.
    OfficialString,
    /// Ours, which mends what that one gets wrong.
    String,
    /// A language model behind an OpenAI-compatible API; see "Judge llm".
    Llm,
}

/// A judge of any kind.
pub(crate) enum AnyJudge {
    Matcher(Box<dyn Judge>),
    Llm(Box<LlmJudge>),
}

impl JudgeArgs {
    /// Makes the judge of a file of predictions.
    pub(crate) fn build(&self, predictions: &Path) -> Result<AnyJudge, CliError> {
        Ok(match self.judge {
            JudgeName::OfficialString => AnyJudge::Matcher(Box::new(OfficialString)),
            JudgeName::String => AnyJudge::Matcher(Box::new(StringJudge)),
            JudgeName::Llm => AnyJudge::Llm(Box::new(self.llm.build(predictions)?)),
        })
    }
}

impl AnyJudge {
    fn inner(&self) -> &dyn Judge {
        match self {
            Self::Matcher(judge) => judge.as_ref(),
            Self::Llm(judge) => judge.as_ref(),
        }
    }

    /// What asking cost; none of a judge that asks nobody.
    pub(crate) fn usage(&self) -> Option<LlmUsage> {
        match self {
            Self::Matcher(_) => None,
            Self::Llm(judge) => Some(judge.usage()),
        }
    }
}

impl Judge for AnyJudge {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn label(&self) -> String {
        self.inner().label()
    }

    fn batch(&self) -> usize {
        self.inner().batch()
    }

    fn judge(&mut self, rows: &[Prediction]) -> Result<Vec<Judgement>, EvalError> {
        match self {
            Self::Matcher(judge) => judge.judge(rows),
            Self::Llm(judge) => judge.judge(rows),
        }
    }
}
