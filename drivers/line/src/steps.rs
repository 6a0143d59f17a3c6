//! Patterns for replies, and steps of a dialogue.

use std::time::Duration;

use regex::{Captures, Regex, RegexBuilder};

use crate::template::Template;

/// What a whole reply has to look like.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    regex: Regex,
    text: String,
}

/// The most that a compiled pattern may take, in bytes.
const LARGEST: usize = 1 << 20;

impl Pattern {
    /// Reads a pattern; it is about the whole line, without `^` and `$`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let regex = compile(text, &format!("^(?:{text})$"))?;
        Ok(Self { regex, text: text.to_owned() })
    }

    /// Whether this is such a reply.
    pub(crate) fn matches(&self, reply: &str) -> bool {
        self.regex.is_match(reply)
    }

    /// The groups of such a reply.
    pub(crate) fn groups<'a>(&self, reply: &'a str) -> Option<Captures<'a>> {
        self.regex.captures(reply)
    }

    /// The names of its groups.
    pub(crate) fn group_names(&self) -> Vec<&str> {
        self.regex.capture_names().flatten().collect()
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// A pattern for each piece of a line.
pub(crate) fn pieces(text: &str) -> Result<Regex, String> {
    compile(text, text)
}

fn compile(text: &str, whole: &str) -> Result<Regex, String> {
    // Of the two, only the one that was written is worth showing.
    RegexBuilder::new(text).size_limit(LARGEST).build().map_err(|error| one_line(&error))?;
    RegexBuilder::new(whole).size_limit(LARGEST).build().map_err(|error| one_line(&error))
}

fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    format!("it is no regular expression: {last}")
}

/// One line that is sent, and what has to come back.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Where it stands in the file.
    pub(crate) key: String,
    /// What is sent.
    pub(crate) send: Template,
    /// The reply; none where there is none.
    pub(crate) expect: Option<Pattern>,
    /// How long the reply may take.
    pub(crate) timeout: Duration,
    /// How long the device needs afterwards.
    pub(crate) wait: Duration,
    /// Under which name the reply is reported.
    pub(crate) read_back: Option<String>,
}

/// What tells that a shot is over.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// It is over.
    pub(crate) done: Pattern,
    /// It goes on; without it, whatever is nothing else.
    pub(crate) running: Option<Pattern>,
    /// It failed.
    pub(crate) failed: Option<Pattern>,
}

/// What a reply says of a shot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Running,
    Failed,
    Unknown,
}

impl Progress {
    /// What this reply says.
    pub(crate) fn verdict(&self, reply: &str) -> Verdict {
        if self.done.matches(reply) {
            return Verdict::Done;
        }
        if self.failed.as_ref().is_some_and(|failed| failed.matches(reply)) {
            return Verdict::Failed;
        }
        match &self.running {
            Some(running) if !running.matches(reply) => Verdict::Unknown,
            _ => Verdict::Running,
        }
    }
}
