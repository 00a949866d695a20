//! `cargo xtask bench`: SafeVLM's own measurements, or with `peers` the comparison with other programs.

mod cost;
mod machine;
mod plan;
mod table;
mod tools;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use serde_json::{Value, json};

use crate::run;
use cost::{Curve, Sweep};
use plan::{Contender, Task};
use table::Outcome;

/// Measure the same work with SafeVLM, PyTorch, llama.cpp and candle, and write a table with the ratios.
///
/// Each round runs every peer once, so that a noisy minute hits all of them; the table has medians over the rounds.
/// After that it measures what an image or a token costs, by how many there are at once, and draws it as an SVG.
/// The first run makes a Python environment, builds candle and llama.cpp, and imports the models: all below target/
/// (models into SAFEVLM_HOME where it is set).
#[derive(Parser)]
#[command(name = "cargo xtask bench peers")]
struct PeersArgs {
    /// One short round of the small models only.
    #[arg(long)]
    quick: bool,
    /// Where the table (peers-DATE.md) and its JSON lines go.
    #[arg(long, value_name = "DIR", default_value = "target/peers/results")]
    out: PathBuf,
    /// Threads of every peer; all processors where it is not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Rounds; 3, or 1 with --quick.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// A Python that has the packages of bench/peers/requirements*.txt, in place of a new environment.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// A built `safevlm`, in place of building one.
    #[arg(long, value_name = "FILE")]
    safevlm: Option<PathBuf>,
    /// A built candle-peer, in place of building one.
    #[arg(long, value_name = "FILE")]
    candle: Option<PathBuf>,
    /// Measure only what has this text in "JOB MODEL PEER DTYPE".
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Runs `bench peers`, or hands `arguments` to `safevlm bench`.
pub(crate) fn bench(arguments: &[String]) -> Result<(), String> {
    if arguments.first().is_some_and(|first| first == "peers") {
        return peers(&PeersArgs::parse_from(arguments));
    }
    let arguments: Vec<&str> = std::iter::once("bench").chain(arguments.iter().map(String::as_str)).collect();
    run::safevlm(&arguments)
}

fn peers(args: &PeersArgs) -> Result<(), String> {
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 }).max(1);
    let runs = if args.quick { 2 } else { 3 };
    let tools = tools::prepare(args)?;
    let mut tasks = plan::tasks(&tools, args.quick);
    if let Some(only) = &args.only {
        for task in &mut tasks {
            let (job, model) = (task.job, task.model);
            task.contenders
                .retain(|each| format!("{job} {model} {} {}", each.peer, each.dtype).contains(only.as_str()));
        }
    }
    fs::create_dir_all(&args.out).map_err(|e| format!("{}: {e}", args.out.display()))?;
    let stem = format!("peers-{}", machine::today());
    let mut lines = Lines::create(args.out.join(format!("{stem}.jsonl")))?;

    let mut rows = plan::rows(&tasks);
    let total: usize = rounds * rows.len();
    let mut done = 0;
    for round in 1..=rounds {
        let mut nth = 0;
        for task in &tasks {
            for contender in &task.contenders {
                let row = &mut rows[nth];
                nth += 1;
                done += 1;
                // What failed once fails again.
                if matches!(row.outcome, Outcome::Missing(_)) {
                    continue;
                }
                let what = format!("{} of {} by {} in {}", task.job, task.model, contender.peer, contender.dtype);
                println!("[{done}/{total}] round {round}: {what}");
                match measure(task, contender, &[], threads, runs) {
                    Ok(mut found) => {
                        found["round"] = json!(round);
                        lines.add(&found)?;
                        row.add(&found);
                    }
                    Err(reason) => {
                        println!("    {reason}");
                        row.outcome = Outcome::Missing(reason);
                    }
                }
            }
        }
    }
    let mut text = format!(
        "# SafeVLM and its peers, {}\n\n{}\n- {threads} threads for every peer; {rounds} interleaved rounds of {runs} runs, \
         medians over the rounds\n{}\n\n{}",
        machine::today(),
        machine::describe(),
        table::versions(&rows),
        table::markdown(&rows),
    );
    let path = args.out.join(format!("{stem}.md"));
    let write = |text: &str| fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()));
    // Before the costs, so that nothing is lost where they fail.
    write(&text)?;
    if !args.quick && args.only.is_none() {
        text.push_str(&costs(&plan::sweeps(&tools), &args.out.join(format!("{stem}.svg")), threads, &mut lines)?);
        write(&text)?;
    }
    println!("\n{text}\n{}", path.display());
    Ok(())
}

/// Measures all sweeps, draws them to `picture`, and returns their tables.
fn costs(sweeps: &[Sweep], picture: &Path, threads: usize, lines: &mut Lines) -> Result<String, String> {
    let mut text = String::new();
    let mut drawn = Vec::new();
    for sweep in sweeps {
        let Task { job, model, contenders, .. } = &sweep.task;
        let mut curves = Vec::new();
        for contender in contenders {
            let mut curve = Curve { name: format!("{} {}", contender.peer, contender.dtype), points: Vec::new() };
            for size in sweep.sizes {
                println!("{job} of {model} by {}, {size} {}s", curve.name, sweep.unit);
                match measure(&sweep.task, contender, &[sweep.option, &size.to_string()], threads, 2) {
                    Ok(mut found) => {
                        found["size"] = json!(size);
                        lines.add(&found)?;
                        curve.points.extend(found["median_ms"].as_f64().map(|ms| (*size, ms / f64::from(*size))));
                    }
                    Err(reason) => {
                        println!("    {reason}");
                        break;
                    }
                }
            }
            curves.push(curve);
        }
        text.push('\n');
        text.push_str(&cost::markdown(sweep, &curves));
        drawn.push((sweep, curves));
    }
    cost::plot(picture, &drawn)?;
    Ok(text)
}

/// The file of all measurements.
struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, String> {
        let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self { path, file })
    }

    fn add(&mut self, found: &Value) -> Result<(), String> {
        writeln!(self.file, "{found}").map_err(|e| format!("{}: {e}", self.path.display()))
    }
}

/// Runs one process with `more` options and returns the measurement that it prints.
fn measure(task: &Task, contender: &Contender, more: &[&str], threads: usize, runs: usize) -> Result<Value, String> {
    let (program, arguments) = contender.command.as_ref().map_err(Clone::clone)?;
    let mut command = Command::new(program);
    command.args(arguments).args(task.options).args(more).arg("--json");
    command.args(["--threads", &threads.to_string(), "--runs", &runs.to_string()]);
    for variable in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
    let output = command.output().map_err(|e| format!("{}: {e}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    match found.next_back().filter(|line| output.status.success() && line["median_ms"].is_f64()) {
        Some(mut line) => {
            // The files that a model lies in are named differently.
            line["peer"] = json!(contender.peer);
            line["compared_as"] = json!(task.model);
            Ok(line)
        }
        None => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no measurement");
            Err(last.trim().to_owned())
        }
    }
}
