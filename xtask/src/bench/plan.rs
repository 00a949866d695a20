//! What is compared with what.

use std::path::{Path, PathBuf};

use super::cost::Sweep;
use super::machine::has_bf16;
use super::table::{Outcome, Row};
use super::tools::Tools;

/// SafeVLM's name in the table.
pub(crate) const OURS: &str = "SafeVLM";
const SMOL: &str = "safe-smol";
const TEXT: &str = "smollm2-135m-instruct";
const HALF_B: &str = "qwen-half-b";

/// One kind of work on one model, by everybody who can do it.
pub(crate) struct Task {
    pub(crate) job: &'static str,
    pub(crate) model: &'static str,
    pub(crate) options: &'static [&'static str],
    pub(crate) contenders: Vec<Contender>,
}

/// One program with the weights in one type.
pub(crate) struct Contender {
    pub(crate) peer: &'static str,
    pub(crate) dtype: &'static str,
    /// The program with its first arguments, or why there is none.
    pub(crate) command: Result<(PathBuf, Vec<String>), String>,
}

/// All comparisons, the cheap ones first.
pub(crate) fn tasks(tools: &Tools, quick: bool) -> Vec<Task> {
    let mut tasks = Vec::new();
    let none: &[&str] = &[];
    for (job, options) in [("guard", none), ("chat", none), ("load", none), ("train", &["--batch", "3"])] {
        let mut contenders = vec![ours(tools, job, SMOL, "f32"), torch(tools, job, SMOL, "f32")];
        // A step in bf16 takes PyTorch minutes where the processor has no instructions for it.
        if job != "train" {
            contenders.extend([torch(tools, job, SMOL, "bf16"), ours(tools, job, SMOL, "q8_0")]);
        }
        tasks.push(Task { job, model: SMOL, options, contenders });
    }
    for job in ["prefill", "decode", "load"] {
        let mut contenders = vec![ours(tools, job, TEXT, "f32"), torch(tools, job, TEXT, "f32")];
        contenders.extend([llama_cpp(tools, job, "f32"), candle(tools, job, "f32"), torch(tools, job, TEXT, "bf16")]);
        for dtype in ["q8_0", "q4_1"] {
            contenders.extend([ours(tools, job, TEXT, dtype), llama_cpp(tools, job, dtype), candle(tools, job, dtype)]);
        }
        tasks.push(Task { job, model: TEXT, options: none, contenders });
    }
    if !quick {
        for job in ["guard", "prefill", "decode", "chat", "load"] {
            let mut contenders = vec![ours(tools, job, HALF_B, "f32"), torch(tools, job, HALF_B, "f32")];
            contenders.extend([torch(tools, job, HALF_B, "bf16"), ours(tools, job, HALF_B, "q8_0")]);
            tasks.push(Task { job, model: HALF_B, options: none, contenders });
        }
    }
    tasks
}

/// What grows with images, and what with tokens.
pub(crate) fn sweeps(tools: &Tools) -> [Sweep; 2] {
    let none: &[&str] = &[];
    let task = |job, model, contenders| Task { job, model, options: none, contenders };
    let guard =
        vec![ours(tools, "guard", SMOL, "f32"), ours(tools, "guard", SMOL, "q8_0"), torch(tools, "guard", SMOL, "f32")];
    let mut prefill = vec![ours(tools, "prefill", TEXT, "f32"), ours(tools, "prefill", TEXT, "q8_0")];
    prefill.extend([
        torch(tools, "prefill", TEXT, "f32"),
        llama_cpp(tools, "prefill", "f32"),
        llama_cpp(tools, "prefill", "q8_0"),
    ]);
    [
        Sweep { unit: "image", option: "--batch", sizes: &[1, 2, 4, 8, 16, 32], task: task("guard", SMOL, guard) },
        Sweep {
            unit: "token",
            option: "--prompt-tokens",
            sizes: &[64, 128, 256, 512, 1024, 2048, 4096],
            task: task("prefill", TEXT, prefill),
        },
    ]
}

/// A row of the table for every contender, with those that cannot run already marked.
pub(crate) fn rows(tasks: &[Task]) -> Vec<Row> {
    let row = |task: &Task, contender: &Contender| {
        let mut row = Row::new(task.job, task.model, contender.peer, contender.dtype);
        if let Err(reason) = &contender.command {
            row.outcome = Outcome::Missing(reason.clone());
        }
        row
    };
    tasks.iter().flat_map(|task| task.contenders.iter().map(move |contender| row(task, contender))).collect()
}

fn ours(tools: &Tools, job: &str, model: &str, dtype: &'static str) -> Contender {
    let folder = tools.model(model, dtype);
    let command = folder.map(|folder| (tools.safevlm.clone(), words(&["bench", job, "--model"], &folder)));
    Contender { peer: OURS, dtype, command }
}

fn torch(tools: &Tools, job: &str, model: &str, dtype: &'static str) -> Contender {
    let command = tools.torch.clone().and_then(|python| {
        if dtype == "bf16" && !has_bf16() {
            return Err("the processor has no instructions for bf16".into());
        }
        let first = [&tools.script("torch_peer.py"), job, "--dtype", dtype, "--model"];
        Ok((python, words(&first, &tools.model(model, "f32")?)))
    });
    Contender { peer: "torch", dtype, command }
}

fn llama_cpp(tools: &Tools, job: &str, dtype: &'static str) -> Contender {
    let command = tools.llama_cpp.clone().and_then(|python| {
        let first = [&tools.script("llama_cpp_peer.py"), job, "--dtype", dtype, "--model"];
        Ok((python, words(&first, &tools.gguf(dtype)?)))
    });
    Contender { peer: "llama.cpp", dtype, command }
}

fn candle(tools: &Tools, job: &str, dtype: &'static str) -> Contender {
    let command = tools.candle.clone().and_then(|program| {
        let model = if dtype == "f32" { tools.model(TEXT, "f32") } else { tools.gguf(dtype) };
        Ok((program, words(&[job, "--dtype", dtype, "--model"], &model?)))
    });
    Contender { peer: "candle", dtype, command }
}

fn words(first: &[&str], path: &Path) -> Vec<String> {
    first.iter().map(|word| (*word).to_owned()).chain([path.display().to_string()]).collect()
}
