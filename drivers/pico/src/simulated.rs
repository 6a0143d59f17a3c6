//! What stands in for a board.

use std::sync::{Arc, Mutex, PoisonError};

use qspool_serial::{SimulatedDevice, SimulatedLine};

/// The longest line that a board sends, with its end, in bytes; a longer one is cut, and has no end.
const LONGEST_REPLY: usize = 127;

/// What a firmware says to a command.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Vec<u8>,
    wanted: usize,
}

impl Answer {
    /// A line with its end, cut as the boards cut it.
    pub fn say(&mut self, line: &str, end: &str) {
        let whole = [line, end].concat();
        self.bytes.extend_from_slice(&whole.as_bytes()[..whole.len().min(LONGEST_REPLY)]);
    }

    /// What comes next is a block of so many bytes.
    pub fn want(&mut self, bytes: usize) {
        self.wanted = bytes;
    }
}

/// The program of a board, as it behaves on its serial port.
pub trait Firmware: Send {
    /// Obeys a command, without its line end.
    fn obey(&mut self, command: &str, answer: &mut Answer);

    /// Takes the block that it [wanted](Answer::want).
    fn take(&mut self, block: &[u8], answer: &mut Answer);
}

/// A board with this program. Clones are the same board.
pub struct SimulatedPico<F> {
    firmware: Arc<Mutex<F>>,
    received: Vec<u8>,
    wanted: usize,
}

impl<F: Firmware> SimulatedPico<F> {
    /// A board that was just switched on. Whoever keeps the other handle can look at its outputs.
    pub fn new(firmware: Arc<Mutex<F>>) -> Self {
        Self { firmware, received: Vec::new(), wanted: 0 }
    }
}

impl<F: Firmware> SimulatedDevice for SimulatedPico<F> {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        self.received.extend_from_slice(bytes);
        let mut firmware = self.firmware.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut answer = Answer::default();
            if self.wanted > 0 {
                if self.received.len() < self.wanted {
                    return;
                }
                let block: Vec<u8> = self.received.drain(..self.wanted).collect();
                self.wanted = 0;
                firmware.take(&block, &mut answer);
            } else {
                let Some(end) = self.received.iter().position(|&byte| byte == b'\n') else { return };
                let command: Vec<u8> = self.received.drain(..=end).collect();
                firmware.obey(String::from_utf8_lossy(&command).trim_end_matches('\n'), &mut answer);
            }
            self.wanted = answer.wanted;
            if !answer.bytes.is_empty() {
                line.reply(answer.bytes);
            }
        }
    }
}

/// The words after the name of a command, as numbers of base `radix`; it ends before the first that is none.
pub fn words(command: &str, radix: u32) -> Vec<u64> {
    let words = command.split_whitespace().skip(1);
    words.map_while(|word| u64::from_str_radix(word, radix).ok()).collect()
}
