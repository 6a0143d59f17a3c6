//! What stands in for the board: firmware 1.3.1, with its quirks.

use std::collections::VecDeque;
use std::time::Instant;

use qspool_pico::{Answer, Firmware, cycles, words};

use crate::table::{ROWS, Row};

const END: &str = "\r\n";

/// A run that is on its way.
struct Run {
    row: usize,
    /// When the row began.
    since: Instant,
}

/// The firmware. Its outputs follow the time whenever somebody looks.
pub struct SimulatedPrawnDo {
    rows: Vec<Row>,
    outputs: u16,
    run: Option<Run>,
    is_aborted: bool,
    is_adding: bool,
    loading: Option<usize>,
    triggers: VecDeque<Instant>,
    history: Vec<(Instant, u16)>,
    source: u64,
    hz: u32,
    /// Whether the reference of an external clock is there.
    pub has_reference: bool,
}

impl Default for SimulatedPrawnDo {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            outputs: 0,
            run: None,
            is_aborted: false,
            is_adding: false,
            loading: None,
            triggers: VecDeque::new(),
            history: Vec::new(),
            source: 0,
            hz: 100_000_000,
            has_reference: true,
        }
    }
}

impl SimulatedPrawnDo {
    /// Its trigger input goes high at these times.
    pub fn trigger(&mut self, edges: &[Instant]) {
        self.triggers.extend(edges);
    }

    /// The levels of its outputs now.
    pub fn outputs(&mut self) -> u16 {
        self.advance();
        self.outputs
    }

    /// Whether a table runs.
    pub fn is_running(&mut self) -> bool {
        self.advance();
        self.run.is_some()
    }

    /// What the outputs did since the last start: from when on they had which levels.
    pub fn history(&mut self) -> &[(Instant, u16)] {
        self.advance();
        &self.history
    }

    fn show(&mut self, at: Instant, levels: u16) {
        self.outputs = levels;
        self.history.push((at, levels));
    }

    fn advance(&mut self) {
        let now = Instant::now();
        while let Some(run) = &self.run {
            let (index, since) = (run.row, run.since);
            // Without an end it runs on for ever.
            let Some(row) = self.rows.get(index).copied() else { return };
            if self.history.last().is_none_or(|(_, levels)| *levels != row.levels) {
                self.show(since, row.levels);
            }
            let next = if row.cycles > 0 {
                since + cycles::time(u64::from(row.cycles), self.hz)
            } else if self.rows.get(index + 1).is_some_and(|row| row.cycles == 0) {
                self.run = None;
                return;
            } else {
                // An edge that came while it was busy is gone.
                while self.triggers.front().is_some_and(|edge| *edge < since) {
                    self.triggers.pop_front();
                }
                let Some(edge) = self.triggers.front().copied() else { return };
                edge
            };
            if next > now {
                return;
            }
            if row.cycles == 0 {
                self.triggers.pop_front();
            }
            self.run = Some(Run { row: index + 1, since: next });
        }
    }

    fn status(&self) -> u64 {
        match (&self.run, self.is_aborted) {
            (Some(_), _) => 2,
            (None, true) => 5,
            (None, false) => 0,
        }
    }

    fn start(&mut self) {
        self.history.clear();
        self.triggers.clear();
        self.is_aborted = false;
        self.run = Some(Run { row: 0, since: Instant::now() });
    }

    fn add(&mut self, line: &str, answer: &mut Answer) {
        let numbers: Vec<u32> = line.split_whitespace().map_while(|word| u32::from_str_radix(word, 16).ok()).collect();
        match numbers[..] {
            _ if line.trim() == "end" => {
                self.is_adding = false;
                answer.say("ok", END);
            }
            #[expect(clippy::cast_possible_truncation, reason = "as the board does")]
            [levels, cycles] if cycles == 0 || cycles >= 5 => self.rows.push(Row { levels: levels as u16, cycles }),
            _ => {
                self.is_adding = false;
                answer.say(&format!("Invalid request{END}{line}"), END);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "as the board does")]
    fn change(&mut self, command: &str, answer: &mut Answer) {
        let numbers = words(command, 16);
        match (&command[..3.min(command.len())], &numbers[..]) {
            ("add", _) => self.is_adding = true,
            ("cls", _) => {
                self.rows.clear();
                answer.say("ok", END);
            }
            ("adm", &[at, count]) if (at + count) as usize <= ROWS => {
                answer.say("ready", END);
                self.loading = Some(at as usize);
                answer.want(6 * count as usize);
            }
            ("adm", _) => answer.say("Invalid address and/or number of instructions", END),
            ("set", &[at, levels, cycles]) if (at as usize) < ROWS => {
                let at = at as usize;
                if self.rows.len() <= at {
                    self.rows.resize(at + 1, Row { levels: 0, cycles: 0 });
                }
                self.rows[at] = Row { levels: levels as u16, cycles: cycles as u32 };
                answer.say("ok", END);
            }
            ("set", _) => answer.say("Invalid instruction address", END),
            ("get", &[at]) => {
                let row = self.rows.get(at as usize);
                let text = row.map_or("Invalid address".to_owned(), |row| format!("{:x} {:x}", row.levels, row.cycles));
                answer.say(&text, END);
            }
            ("swr" | "run", _) => {
                self.start();
                answer.say("ok", END);
            }
            // Not masked: bit 16 starts the table.
            ("man", &[levels]) => {
                self.is_aborted = false;
                if levels >> 16 & 1 == 1 {
                    self.start();
                } else {
                    self.show(Instant::now(), levels as u16);
                }
                answer.say("ok", END);
            }
            ("gto", _) => answer.say(&format!("{:x}", self.outputs), END),
            ("clk", _) => match words(command, 10)[..] {
                [source @ 0..=2, hz] if (1..=133_000_000).contains(&hz) => {
                    (self.source, self.hz) = (source, hz as u32);
                    answer.say("ok", END);
                }
                _ => answer.say("invalid clock request", END),
            },
            _ => answer.say(&format!("Unknown command: {command}{END}"), END),
        }
    }
}

impl Firmware for SimulatedPrawnDo {
    fn obey(&mut self, command: &str, answer: &mut Answer) {
        self.advance();
        if self.is_adding {
            return self.add(command, answer);
        }
        // By the first three letters only, as the board does.
        match command.get(..3).unwrap_or(command) {
            "ver" => answer.say("Version: 1.3.1", END),
            "brd" => answer.say("board: pico1", END),
            "sts" => {
                let clock = u64::from(self.source > 0 && self.has_reference);
                answer.say(&format!("run-status:{} clock-status:{clock}", self.status()), END);
            }
            "deb" | "ndb" => answer.say("ok", END),
            "abt" if self.run.is_some() => {
                // The outputs stay as they are.
                self.run = None;
                self.is_aborted = true;
                answer.say("ok", END);
            }
            "abt" => answer.say("Can only abort when status is 1 or 2", END),
            _ if self.run.is_some() => {
                let refusal = format!(
                    "Cannot execute command \"{command}{END}\" during buffered execution. Check status first and wait for it to return 0 or 5 (stopped or aborted)."
                );
                answer.say(&refusal, END);
            }
            _ => self.change(command, answer),
        }
    }

    fn take(&mut self, block: &[u8], answer: &mut Answer) {
        let Some(at) = self.loading.take() else { return };
        self.rows.truncate(at);
        self.rows.resize(at, Row { levels: 0, cycles: 0 });
        let mut is_good = true;
        for record in block.chunks_exact(6) {
            let levels = u16::from_le_bytes([record[0], record[1]]);
            let mut cycles = u32::from_le_bytes([record[2], record[3], record[4], record[5]]);
            if (1..5).contains(&cycles) {
                answer.say("Reps must be 0 or at least 5; set to 0", END);
                (cycles, is_good) = (0, false);
            }
            self.rows.push(Row { levels, cycles });
        }
        if is_good {
            answer.say("ok", END);
        }
    }
}
