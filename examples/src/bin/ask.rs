//! One question about one picture, answered as it is generated:
//! `cargo run -p safevlm-examples --bin ask -- examples/pictures/camera.png "What is this?"`

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use safevlm::{Conversation, GenerationConfig, ImageLimits, LoadOptions, SafeVlm, load_image, registry};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [picture, question] = arguments.as_slice() else {
        eprintln!("usage: ask PICTURE QUESTION");
        return ExitCode::from(2);
    };
    match ask(Path::new(picture), question) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(picture: &Path, question: &str) -> Result<(), Box<dyn Error>> {
    let image = Arc::new(load_image(picture, &ImageLimits::default())?);
    let model = SafeVlm::load(&registry::resolve("safe-smol")?, &LoadOptions::default())?;
    let conversation = Conversation::new().user(question, [image]);
    let mut out = std::io::stdout();
    let answer = model.chat(&conversation, &GenerationConfig::default(), &mut |text| {
        // A closed pipe is an error below, too.
        let _ = write!(out, "{text}").and_then(|()| out.flush());
    })?;
    writeln!(out)?;
    if let Some(verdict) = answer.safety {
        writeln!(out, "{}: unsafe {:.3}, flagged: {}", verdict.label, verdict.unsafe_probability, verdict.flagged)?;
    }
    Ok(())
}
