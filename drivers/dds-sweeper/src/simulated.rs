//! What stands in for the board: firmware 0.4.0, with its quirks.

use std::collections::VecDeque;
use std::time::Instant;

use qspool_pico::{Answer, Firmware, cycles, words};

use crate::table::{CHANNELS, Tone};

const END: &str = "\n";

/// How many rows it keeps, whatever their size.
const ROWS: usize = 16_656;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Row {
    Tones { tones: Vec<Tone>, cycles: u32 },
    Stop,
}

/// The firmware, with an AD9959 whose outputs follow the time whenever somebody looks.
pub struct SimulatedDdsSweeper {
    debug: bool,
    mode: u64,
    is_timed: bool,
    channels: usize,
    pico_hz: u32,
    table: Vec<Option<Row>>,
    tones: [Tone; CHANNELS],
    status: u64,
    /// The next row, and when the one before began.
    run: Option<(usize, Instant)>,
    triggers: VecDeque<Instant>,
    count: u64,
    history: Vec<(Instant, [Tone; CHANNELS])>,
    loading: Option<(usize, usize)>,
}

impl Default for SimulatedDdsSweeper {
    fn default() -> Self {
        Self {
            debug: true,
            mode: 1,
            is_timed: false,
            channels: 1,
            pico_hz: 125_000_000,
            table: vec![None; ROWS],
            tones: Default::default(),
            status: 0,
            run: None,
            triggers: VecDeque::new(),
            count: 0,
            history: Vec::new(),
            loading: None,
        }
    }
}

impl SimulatedDdsSweeper {
    /// Its trigger input goes high at these times.
    pub fn trigger(&mut self, edges: &[Instant]) {
        self.triggers.extend(edges);
    }

    /// What the channels put out now.
    pub fn tones(&mut self) -> [Tone; CHANNELS] {
        self.advance();
        self.tones
    }

    /// Whether nothing runs and all channels are silent.
    pub fn is_safe(&mut self) -> bool {
        self.tones().iter().all(|tone| tone.amplitude == 0) && self.status != 2
    }

    /// What the channels did since the last start: from when on they had which tones.
    pub fn history(&mut self) -> &[(Instant, [Tone; CHANNELS])] {
        self.advance();
        &self.history
    }

    fn advance(&mut self) {
        let now = Instant::now();
        while let Some((next, since)) = self.run {
            let at = if !self.is_timed {
                let Some(edge) = self.triggers.front().copied().filter(|edge| *edge <= now) else { return };
                edge
            } else if let Some(Some(Row::Tones { cycles: last, .. })) = next.checked_sub(1).map(|row| &self.table[row])
            {
                since + cycles::time(u64::from(*last), self.pico_hz)
            } else {
                since
            };
            if at > now {
                return;
            }
            match self.table.get(next).cloned().flatten() {
                Some(Row::Tones { tones, .. }) => {
                    self.tones[..tones.len()].copy_from_slice(&tones);
                    self.history.push((at, self.tones));
                    self.triggers.pop_front();
                    self.count += 1;
                    self.run = Some((next + 1, at));
                    // It looks ahead: a stop needs no trigger.
                    if !self.is_timed && self.table.get(next + 1).is_some_and(|row| row == &Some(Row::Stop)) {
                        (self.run, self.status) = (None, 0);
                    }
                }
                _ => (self.run, self.status) = (None, 0),
            }
        }
    }

    fn ok(&self, detail: &str, answer: &mut Answer) {
        if self.debug && !detail.is_empty() {
            answer.say(detail, END);
        }
        answer.say("ok", END);
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the board does")]
    fn change(&mut self, command: &str, answer: &mut Answer) {
        let numbers = words(command, 10);
        match (command.split_whitespace().next().unwrap_or_default(), &numbers[..]) {
            ("setchannels", &[channels @ 0..=4]) => {
                self.channels = channels.max(1) as usize;
                self.ok("", answer);
            }
            ("setclock", &[source @ 0..=1, hz, ..]) => {
                if source == 0 {
                    self.pico_hz = hz as u32;
                }
                self.ok("", answer);
            }
            ("mode", &[mode @ 0..=6, timed]) => {
                (self.mode, self.is_timed) = (mode, timed > 0);
                self.ok("", answer);
            }
            ("setamp", &[channel @ 0..4, ..]) => {
                let share = command.split_whitespace().nth(2).and_then(|share| share.parse::<f64>().ok());
                self.tones[channel as usize].amplitude = (share.unwrap_or(1.0).clamp(0.0, 1.0) * 1023.0).round() as u16;
                self.ok("Amp", answer);
            }
            ("set", &[4, row]) if (row as usize) < ROWS => {
                self.table[row as usize] = Some(Row::Stop);
                self.ok("", answer);
            }
            // An error, and then `ok` all the same.
            ("set" | "seti", _) => {
                answer.say("Invalid Channel - expected 0-3 for channels or 4/5 for stop/repeat instruction", END);
                answer.say("ok", END);
            }
            ("setb", &[at, rows]) if ((at + rows) as usize) < ROWS && self.mode == 0 => {
                let bytes = (8 + 4 * usize::from(self.is_timed)) * self.channels * rows as usize;
                answer.say(&format!("ready for {bytes} bytes"), END);
                self.loading = Some((at as usize, rows as usize));
                answer.want(bytes);
            }
            ("setb", _) => answer.say("Insufficient space for instructions", END),
            ("start" | "hwstart", _) => {
                answer.say("ok", END);
                (self.count, self.history) = (0, Vec::new());
                self.triggers.clear();
                if self.table.contains(&Some(Row::Stop)) {
                    self.status = 2;
                    self.run = Some((0, Instant::now()));
                } else {
                    self.status = 1;
                    answer.say("No stop or repeat instruction", END);
                }
            }
            _ => answer.say(&format!("Unrecognized Command: \"{command}\""), END),
        }
    }
}

impl Firmware for SimulatedDdsSweeper {
    fn obey(&mut self, command: &str, answer: &mut Answer) {
        self.advance();
        let is = |name: &str| command.starts_with(name);
        if is("version") {
            answer.say("0.4.0", END);
        } else if is("board") {
            answer.say("pico1", END);
        } else if is("status") {
            answer.say(&self.status.to_string(), END);
        } else if is("numtriggers") {
            answer.say(&self.count.to_string(), END);
        } else if is("debug on") {
            self.debug = true;
            self.ok("debug on", answer);
        } else if is("debug off") {
            self.ok("debug off", answer);
            self.debug = false;
        } else if is("abort") {
            match self.status {
                // The tones stay.
                2 => (self.run, self.status) = (None, 4),
                1 => self.status = 3,
                _ => {}
            }
            self.ok("", answer);
        } else if is("reset") {
            (self.run, self.status) = (None, 0);
            (self.mode, self.channels, self.tones) = (1, 1, Default::default());
            self.ok("", answer);
        } else if !matches!(self.status, 0 | 4) {
            let refusal = format!(
                "Cannot execute command \"{command}\" during buffered execution. Check status first and wait for it to return 0 or 4 (stopped or aborted)."
            );
            answer.say(&refusal, END);
        } else {
            self.change(command, answer);
        }
    }

    fn take(&mut self, block: &[u8], answer: &mut Answer) {
        let Some((at, rows)) = self.loading.take() else { return };
        let per_tone = 8 + 4 * usize::from(self.is_timed);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        for (row, record) in block.chunks_exact(per_tone * self.channels).take(rows).enumerate() {
            let tones = record.chunks_exact(per_tone).map(|tone| Tone {
                frequency: number(&tone[..4]),
                amplitude: u16::from_le_bytes([tone[4], tone[5]]),
                phase: u16::from_le_bytes([tone[6], tone[7]]),
            });
            let cycles = if self.is_timed { number(&record[8..12]) } else { 0 };
            self.table[at + row] = Some(Row::Tones { tones: tones.collect(), cycles });
        }
        answer.say("ok", END);
    }
}
