//! The conversation of `safevlm chat` without a prompt.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use safevlm::{Answer, Conversation, RgbImage};

use crate::commands::chat::{load, streamed, write_verdict};
use crate::error::CliError;
use crate::terminal::{DIM, TITLE, report_error};

const HELP: &str =
    "Type a question. /image FILE shows an image with the next question, /clear begins anew, /quit ends.";

/// A conversation in progress.
pub(crate) struct Talk {
    beginning: Conversation,
    conversation: Conversation,
    images: Vec<Arc<RgbImage>>,
    chart: bool,
}

impl Talk {
    /// Begins behind `beginning` (a system message or nothing); the first question shows `images`.
    pub(crate) fn new(beginning: Conversation, images: Vec<Arc<RgbImage>>, chart: bool) -> Self {
        Self { conversation: beginning.clone(), beginning, images, chart }
    }

    /// Asks `chat` line by line until the input ends. A turn that fails is reported and forgotten.
    ///
    /// # Errors
    ///
    /// When the input cannot be read or the output cannot be written.
    pub(crate) fn run(
        &mut self,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
        mut chat: impl FnMut(&Conversation, &mut dyn FnMut(&str)) -> Result<Answer, CliError>,
    ) -> Result<(), CliError> {
        writeln!(out, "{DIM}{HELP}{DIM:#}").map_err(CliError::Output)?;
        loop {
            write!(out, "{TITLE}>{TITLE:#} ").and_then(|()| out.flush()).map_err(CliError::Output)?;
            let mut line = String::new();
            if input.read_line(&mut line).map_err(CliError::Stdin)? == 0 {
                return writeln!(out).map_err(CliError::Output);
            }
            let line = line.trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            match word {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/clear" => {
                    self.conversation = self.beginning.clone();
                    self.images.clear();
                }
                "/image" => match load(&PathBuf::from(rest.trim())) {
                    Ok(image) => self.images.push(image),
                    Err(error) => report_error(&error),
                },
                _ if word.starts_with('/') => writeln!(out, "{DIM}{HELP}{DIM:#}").map_err(CliError::Output)?,
                _ => self.turn(line, out, &mut chat)?,
            }
        }
    }

    fn turn(
        &mut self,
        question: &str,
        out: &mut dyn Write,
        chat: &mut impl FnMut(&Conversation, &mut dyn FnMut(&str)) -> Result<Answer, CliError>,
    ) -> Result<(), CliError> {
        let asked = self.conversation.clone().user(question, self.images.iter().cloned());
        match streamed(out, |on_text| chat(&asked, on_text)) {
            Ok(answer) => {
                write_verdict(out, &answer, self.chart).map_err(CliError::Output)?;
                self.conversation = asked.assistant(answer.text);
                self.images.clear();
                Ok(())
            }
            Err(error @ (CliError::Output(_) | CliError::Stdin(_))) => Err(error),
            Err(error) => {
                report_error(&error);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use safevlm::{FinishReason, Message, Timing};

    use super::*;

    fn answer(text: &str) -> Answer {
        Answer {
            model: "test".into(),
            device: "flex".into(),
            prompt_tokens: vec![],
            generated_tokens: vec![],
            text: text.into(),
            finish_reason: FinishReason::Stop,
            safety: None,
            timing: Timing::default(),
        }
    }

    /// What the model was asked in each turn, and what was printed.
    struct Talked {
        asked: Vec<Conversation>,
        printed: String,
    }

    impl Talked {
        fn texts(&self, turn: usize) -> Vec<String> {
            self.asked[turn].messages.iter().map(Message::text).collect()
        }

        fn images(&self) -> Vec<usize> {
            self.asked.iter().map(|conversation| conversation.images.len()).collect()
        }
    }

    /// Talks to a model that always says the same, and fails where the conversation says so.
    fn talk(input: &str, images: usize) -> Talked {
        let mut asked = Vec::new();
        let mut out = anstream::StripStream::new(Vec::new());
        let images = (0..images).map(|_| Arc::new(RgbImage::new(1, 1))).collect();
        Talk::new(Conversation::new().system("Be brief."), images, false)
            .run(&mut input.as_bytes(), &mut out, |conversation, on_text| {
                asked.push(conversation.clone());
                if conversation.messages.iter().any(|message| message.text() == "fail") {
                    return Err(CliError::Input("asked to fail".into()));
                }
                on_text("An");
                on_text("swer\x1b");
                Ok(answer("Answer"))
            })
            .unwrap();
        Talked { asked, printed: String::from_utf8(out.into_inner()).unwrap() }
    }

    #[test]
    fn turns_follow_one_another_and_failed_ones_are_forgotten() {
        let talked = talk("One\nfail\n\nTwo\n", 2);
        assert_eq!(talked.asked.len(), 3);
        assert_eq!(talked.texts(2), ["Be brief.", "One", "Answer", "Two"]);
        assert_eq!(talked.images(), [2, 2, 2]);
        assert_eq!(talked.printed.matches("Answer\u{FFFD}\n").count(), 2);
    }

    #[test]
    fn clear_begins_anew_and_quit_ends() {
        let talked = talk("One\n/clear\nTwo\n/quit\nThree\n", 1);
        assert_eq!(talked.asked.len(), 2);
        assert_eq!(talked.texts(1), ["Be brief.", "Two"]);
        assert_eq!(talked.images(), [1, 0]);
    }

    #[test]
    fn images_are_shown_with_the_next_question_and_bad_ones_only_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a picture.png");
        RgbImage::new(2, 2).save(&path).unwrap();
        let talked = talk(&format!("/image missing.png\n/image {}\nOne\nTwo\n", path.display()), 0);
        assert_eq!(talked.images(), [1, 1]);
    }

    #[test]
    fn an_unknown_command_shows_the_help() {
        let talked = talk("/help\n", 0);
        assert!(talked.asked.is_empty());
        assert_eq!(talked.printed.matches(HELP).count(), 2);
    }
}
