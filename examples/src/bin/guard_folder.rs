//! A verdict on every picture in a folder: `cargo run -p safevlm-examples --bin guard_folder -- examples/pictures`

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use safevlm::{ImageLimits, LoadOptions, SafeVlm, load_image, registry};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: guard_folder FOLDER");
        return ExitCode::from(2);
    };
    match guard(folder.into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guard(folder: PathBuf) -> Result<(), Box<dyn Error>> {
    let model = SafeVlm::load(&registry::resolve("safe-smol")?, &LoadOptions::default())?;
    let listing = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths = listing.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    let mut out = std::io::stdout();
    for path in paths.iter().filter(|path| path.is_file()) {
        // A file that is no picture is named, and the others are still looked at.
        let image = match load_image(path, &ImageLimits::default()) {
            Ok(image) => image,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        // One picture at a time keeps memory small; `guard` takes several at once, too.
        for verdict in model.guard(&[&image])? {
            let decision = if verdict.flagged { "flagged" } else { "passed" };
            writeln!(out, "{decision} {:.3} {:26} {}", verdict.unsafe_probability, verdict.label, path.display())?;
        }
    }
    Ok(())
}
