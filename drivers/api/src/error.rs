//! What can go wrong with a device, and what it means for the job and for the queue behind it.

use std::fmt;

/// What an error means for the job that was to be run, and for those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The job is bad: it ends with an error, and the next one is run.
    Job,
    /// The same job may work when it is tried again: a reply was garbled, a trigger was missed.
    Retry,
    /// The device is away or does not work: the job goes back to the head of its queue, and the backend waits until the
    /// device can be identified again.
    Device,
    /// The settings or the device itself are the wrong ones: the backend waits for a person. The job goes back.
    Configuration,
}

/// A request to a device failed.
///
/// The message is one line for the operator: which device, which command, what came back, what to do. A user is told
/// of those of the class [`Job`](ErrorClass::Job) only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", exchange(.command.as_deref(), .reply.as_deref()))]
pub struct DriverError {
    class: ErrorClass,
    what: String,
    command: Option<String>,
    reply: Option<String>,
}

/// The longest piece of a command or reply that is repeated, in characters.
const SHOWN: usize = 200;

fn exchange(command: Option<&str>, reply: Option<&str>) -> String {
    let named = |name: &str, text: Option<&str>| text.map_or_else(String::new, |text| format!("; {name}: {text:?}"));
    named("sent", command) + &named("answered", reply)
}

fn cut(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(SHOWN).collect()
}

impl DriverError {
    /// An error of this class; `what` names the device and says in one line what is wrong and what to do.
    pub fn new(class: ErrorClass, what: impl Into<String>) -> Self {
        Self { class, what: what.into(), command: None, reply: None }
    }

    /// The same with the command that was sent; only its beginning is kept.
    #[must_use]
    pub fn sent(mut self, command: impl AsRef<[u8]>) -> Self {
        self.command = Some(cut(command.as_ref()));
        self
    }

    /// The same with what came back; only its beginning is kept.
    #[must_use]
    pub fn answered(mut self, reply: impl AsRef<[u8]>) -> Self {
        self.reply = Some(cut(reply.as_ref()));
        self
    }

    /// The same as an error of another class, where whoever asked knows better what it means.
    #[must_use]
    pub fn as_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    /// The same outside of a run, where there is no job to try again: what may pass counts as a device that is away.
    #[must_use]
    pub fn outside_of_run(self) -> Self {
        if self.class == ErrorClass::Retry { self.as_class(ErrorClass::Device) } else { self }
    }

    /// What it means.
    pub fn class(&self) -> ErrorClass {
        self.class
    }
}

/// Why a program is not for a device. It is found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The number of the instruction, counted from 0, with its name; none where it is about the whole program.
    pub instruction: Option<(usize, String)>,
    /// What is wrong: which value, what is allowed. One line for the user.
    pub what: String,
}

impl Problem {
    /// A problem of the whole program.
    pub fn of_program(what: impl Into<String>) -> Self {
        Self { instruction: None, what: what.into() }
    }

    /// A problem of one instruction.
    pub fn of_instruction(index: usize, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { instruction: Some((index, name.into())), what: what.into() }
    }
}

/// As the simulators write it: `instruction 3 (pulse): …`.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instruction {
            Some((index, name)) => write!(formatter, "instruction {index} ({name}): {}", self.what),
            None => formatter.write_str(&self.what),
        }
    }
}
