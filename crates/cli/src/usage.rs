//! clap's errors as one sentence with the contract's exit status.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::error::BAD_INPUT;
use crate::terminal;

/// Prints help, the version or a usage error, and gives the exit status.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe is no failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(BAD_INPUT)
        }
        _ => {
            let command = std::env::args().skip(1).find(|arg| is_command(arg));
            let sentence = sentence(&error.render().to_string(), command.as_deref());
            terminal::report_error(&sentence);
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn is_command(arg: &str) -> bool {
    Cli::command().get_subcommands().any(|command| command.get_name() == arg)
}

/// What clap says before it repeats the usage, as one line that names the help to read.
fn sentence(rendered: &str, command: Option<&str>) -> String {
    let text = rendered.strip_prefix("error: ").unwrap_or(rendered);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    let parts: Vec<String> = text[..end.unwrap_or(text.len())]
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty())
        .collect();
    let help = command.map_or("safevlm --help".to_owned(), |command| format!("safevlm {command} --help"));
    format!("{}; see `{help}`", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn clap_s_paragraphs_become_one_sentence() {
        let rendered = "error: unexpected argument '--promt' found\n\n  tip: a similar argument exists: '--prompt'\n\n\
                        Usage: safevlm chat [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            sentence(rendered, Some("chat")),
            "unexpected argument '--promt' found; tip: a similar argument exists: '--prompt'; see `safevlm chat --help`"
        );
        assert_eq!(sentence("error: bad\n", None), "bad; see `safevlm --help`");
    }
}
