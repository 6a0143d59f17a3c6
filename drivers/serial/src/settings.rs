//! How a port is opened and what may pass through it.

use std::path::PathBuf;
use std::time::Duration;

use serialport::{DataBits, FlowControl, Parity, StopBits};

/// What ends a line that is sent. A reply may always end in LF or CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnd {
    /// `\n`.
    #[default]
    Lf,
    /// `\r\n`.
    CrLf,
    /// `\r`; replies end in it, too.
    Cr,
}

impl LineEnd {
    /// What is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
        }
    }

    /// The byte with which a reply is over.
    pub(crate) fn of_replies(self) -> u8 {
        if self == Self::Cr { b'\r' } else { b'\n' }
    }
}

/// How a port is opened and what may pass through it.
#[derive(Debug, Clone)]
pub struct PortSettings {
    /// The port, best as a link below `/dev/serial/by-id`: it is the same one after the device was plugged in again.
    pub path: PathBuf,
    /// Bits per second. A USB port ignores it, as it does the next four.
    pub baud: u32,
    /// Bits of one character.
    pub data_bits: DataBits,
    /// The parity bit.
    pub parity: Parity,
    /// Bits after a character.
    pub stop_bits: StopBits,
    /// Who holds back whom when a buffer is full.
    pub flow_control: FlowControl,
    /// What ends a line that is sent.
    pub line_end: LineEnd,
    /// How long the device needs after the port was opened: some boards restart then.
    pub settle: Duration,
    /// For how long nothing has to come until a port counts as drained: 50 ms are ample on USB.
    pub quiet: Duration,
    /// How long after its deadline a reply may still come. That long it is waited for before the next request, so that
    /// it is not taken for the next reply.
    pub late: Duration,
    /// Pause before each line, for devices that lose characters otherwise.
    pub pause: Duration,
    /// Whether the device repeats each line that it is sent, before it answers.
    pub echo: bool,
    /// The longest line that may be sent, with its end, in bytes. Many devices write beyond their buffer after 255.
    pub longest_sent: usize,
    /// The longest line that is taken as a reply, in bytes.
    pub longest_reply: usize,
    /// No line may begin with one of these, in small or capital letters: on some boards `pro` or `prg` ends the
    /// firmware.
    pub forbidden: Vec<String>,
}

impl PortSettings {
    /// A port of 8 bits without parity, at 115200 bits per second, with lines that end in LF.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            baud: 115_200,
            data_bits: DataBits::Eight,
            parity: Parity::None,
            stop_bits: StopBits::One,
            flow_control: FlowControl::None,
            line_end: LineEnd::Lf,
            settle: Duration::ZERO,
            quiet: Duration::from_millis(50),
            late: Duration::from_secs(1),
            pause: Duration::ZERO,
            echo: false,
            longest_sent: 255,
            longest_reply: 4096,
            forbidden: Vec::new(),
        }
    }

    /// Why `line` may not be sent; none when it may.
    pub fn refusal(&self, line: &str) -> Option<String> {
        let length = line.len() + self.line_end.as_str().len();
        if length > self.longest_sent {
            return Some(format!("it has {length} bytes with its end, allowed are {}", self.longest_sent));
        }
        if line.chars().any(char::is_control) {
            return Some("it has a control character".to_owned());
        }
        let begin = self.forbidden_beginning(line)?;
        Some(format!("lines that begin with {begin:?} are forbidden for this device"))
    }

    /// Whether `line` begins with something forbidden; says with what.
    pub fn forbidden_beginning(&self, line: &str) -> Option<&str> {
        let line = line.trim_start();
        let begins = |with: &&String| line.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
        self.forbidden.iter().find(begins).map(String::as_str)
    }
}
