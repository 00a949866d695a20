//! `safevlm chat`

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use safevlm::{Answer, Conversation, ImageLimits, RgbImage, load_image};

use crate::args::{GenerationArgs, ModelArgs};
use crate::commands::talk;
use crate::error::CliError;
use crate::terminal::{harmless, stdout_is_terminal};
use crate::verdicts;

/// A prompt on standard input may have this many bytes, far more than any context holds.
const PROMPT_LIMIT: u64 = 1 << 20;
/// Classes in the chart below an answer.
const CHART_CLASSES: usize = 3;

const EXAMPLES: &str = "\
Without --prompt it is a conversation on a terminal; otherwise the prompt is read from standard input.

Examples:
  safevlm chat --image photo.jpg --prompt \"What is this?\"
  safevlm chat --image a.png --image b.png --prompt \"What changed?\" --json
  safevlm chat --system \"Answer in one sentence.\" --temperature 0.7 --seed 1
  echo \"Write a haiku.\" | safevlm chat";

/// Ask a question, about images or not, and get an answer with a verdict on the images.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ChatArgs {
    /// The question.
    #[arg(long, short, value_name = "TEXT")]
    prompt: Option<String>,
    /// An image to ask about: PNG, JPEG, WebP, GIF or BMP; may be given several times.
    #[arg(long, short, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Instructions that come before the conversation.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Print the answer, its tokens, the verdict and the timing as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &ChatArgs) -> Result<(), CliError> {
    args.model.check_device()?;
    let images = args.image.iter().map(load).collect::<Result<Vec<_>, _>>()?;
    let mut conversation = Conversation::new();
    if let Some(system) = &args.system {
        conversation = conversation.system(system);
    }
    let prompt = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None if io::stdin().is_terminal() && !args.json => return interactive(args, conversation, images),
        None => piped_prompt()?,
    };
    let conversation = conversation.user(prompt, images);
    let model = args.model.load()?;
    if args.json {
        let answer = model.chat(&conversation, &args.generation.config(), &mut |_| {})?;
        let json = serde_json::to_string(&answer).map_err(|error| CliError::Output(error.into()))?;
        return writeln!(io::stdout(), "{json}").map_err(CliError::Output);
    }
    let mut out = anstream::stdout();
    let answer = streamed(&mut out, |on_text| Ok(model.chat(&conversation, &args.generation.config(), on_text)?))?;
    write_verdict(&mut out, &answer, stdout_is_terminal()).map_err(CliError::Output)
}

/// Reads an image within the default limits.
pub(crate) fn load(path: &PathBuf) -> Result<Arc<RgbImage>, CliError> {
    let image = load_image(path, &ImageLimits::default()).map_err(safevlm::Error::from)?;
    Ok(Arc::new(image))
}

/// Writes an answer while `chat` generates it, and a line break after it.
pub(crate) fn streamed(
    out: &mut dyn Write,
    chat: impl FnOnce(&mut dyn FnMut(&str)) -> Result<Answer, CliError>,
) -> Result<Answer, CliError> {
    let mut written = Ok(());
    let answer = chat(&mut |text| {
        if written.is_ok() {
            written = out.write_all(harmless(text).as_bytes()).and_then(|()| out.flush());
        }
    })?;
    written.and_then(|()| writeln!(out)).map_err(CliError::Output)?;
    Ok(answer)
}

/// Writes what the guard says, where it says anything.
pub(crate) fn write_verdict(out: &mut dyn Write, answer: &Answer, chart: bool) -> io::Result<()> {
    if let Some(verdict) = &answer.safety {
        writeln!(out)?;
        verdicts::write_line(out, verdict)?;
        if chart {
            verdicts::write_chart(out, verdict, CHART_CLASSES)?;
        }
    }
    Ok(())
}

fn piped_prompt() -> Result<String, CliError> {
    let missing = "there is no prompt; give one with `--prompt TEXT` or on standard input";
    if io::stdin().is_terminal() {
        return Err(CliError::Input(missing.to_owned()));
    }
    let mut bytes = Vec::new();
    io::stdin().take(PROMPT_LIMIT + 1).read_to_end(&mut bytes).map_err(CliError::Stdin)?;
    if bytes.len() as u64 > PROMPT_LIMIT {
        return Err(CliError::Input(format!(
            "the prompt on standard input is longer than {PROMPT_LIMIT} bytes; shorten it"
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::Input("the prompt on standard input is not UTF-8; convert it".to_owned()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(CliError::Input(missing.to_owned())),
        text => Ok(text.to_owned()),
    }
}

fn interactive(args: &ChatArgs, conversation: Conversation, images: Vec<Arc<RgbImage>>) -> Result<(), CliError> {
    let model = args.model.load()?;
    let config = args.generation.config();
    let mut out = anstream::stdout();
    let mut talk = talk::Talk::new(conversation, images, stdout_is_terminal());
    talk.run(&mut io::stdin().lock(), &mut out, |conversation, on_text| {
        Ok(model.chat(conversation, &config, on_text)?)
    })
}
