//! What stands in for the board: firmware 1.1.1, with its quirks.

use std::time::Instant;

use qspool_pico::{Answer, Firmware, cycles, words};

use crate::table::Row;

const END: &str = "\r\n";
const ROWS: usize = 30_000;

/// Hears the rising edges of a clock when a run begins.
pub type Wire = Box<dyn FnMut(&[Instant]) + Send>;

/// A run that is on its way, or over.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: Instant,
    is_aborted: bool,
}

/// The firmware, with nothing at its trigger inputs.
pub struct SimulatedPrawnBlaster {
    clocks: usize,
    source: u64,
    hz: u32,
    rows: Vec<Row>,
    high: [bool; 4],
    run: Option<Run>,
    waits: [Vec<u64>; 4],
    /// The clock and the row at which a block goes.
    loading: Option<(usize, usize)>,
    wires: Vec<(usize, Wire)>,
    /// Whether the reference of an external clock is there.
    pub has_reference: bool,
}

impl Default for SimulatedPrawnBlaster {
    fn default() -> Self {
        Self {
            clocks: 1,
            source: 0,
            hz: 100_000_000,
            rows: vec![Row::STOP; ROWS],
            high: [false; 4],
            run: None,
            waits: Default::default(),
            loading: None,
            wires: Vec::new(),
            has_reference: true,
        }
    }
}

impl SimulatedPrawnBlaster {
    /// Connects a clock to something that hears its edges.
    pub fn connect(&mut self, clock: usize, wire: Wire) {
        self.wires.push((clock, wire));
    }

    /// Whether nothing runs and all outputs are low.
    pub fn is_safe(&self) -> bool {
        self.status() != 2 && self.high == [false; 4]
    }

    fn status(&self) -> u64 {
        match self.run {
            Some(run) if run.is_aborted => 5,
            Some(run) if Instant::now() < run.end => 2,
            _ => 0,
        }
    }

    fn share(&self) -> usize {
        ROWS / self.clocks
    }

    /// Where a row of a clock lies; the board knows no limits here.
    fn place(&self, clock: usize, row: usize) -> Option<usize> {
        let place = clock * self.share() + row;
        (place < ROWS).then_some(place)
    }

    fn start(&mut self) {
        let now = Instant::now();
        let mut end = now;
        for clock in 0..self.clocks {
            let mut at = now;
            let (mut edges, mut waits) = (Vec::new(), Vec::new());
            let is_heard = self.wires.iter().any(|(wired, _)| *wired == clock);
            for row in self.rows[self.place(clock, 0).unwrap_or_default()..].iter().take(self.share()) {
                if *row == Row::STOP {
                    break;
                }
                if row.is_wait() {
                    // Nothing ends it.
                    at += cycles::time(u64::from(row.cycles), self.hz);
                    waits.push(u64::from(u32::MAX));
                    continue;
                }
                let period = 2 * u64::from(row.cycles);
                if is_heard {
                    edges.extend((0..row.repetitions).map(|tick| at + cycles::time(period * u64::from(tick), self.hz)));
                }
                at += cycles::time(period * u64::from(row.repetitions), self.hz);
            }
            // The end has an entry, too.
            waits.push(0);
            self.waits[clock] = waits;
            end = end.max(at);
            for (_, wire) in self.wires.iter_mut().filter(|(wired, _)| *wired == clock) {
                wire(&edges);
            }
        }
        self.run = Some(Run { end, is_aborted: false });
    }

    fn set(&mut self, clock: usize, at: usize, row: Row, answer: &mut Answer) -> bool {
        let is_stop = row == Row::STOP;
        if row.repetitions > 0 && row.cycles < 5 {
            answer.say("half-period too short", END);
            return false;
        }
        if row.repetitions == 0 && !is_stop && row.cycles < 6 {
            answer.say("invalid request", "\n");
            return false;
        }
        if let Some(place) = self.place(clock, at) {
            self.rows[place] = row;
        }
        true
    }

    #[expect(clippy::cast_possible_truncation, reason = "as the board does")]
    fn change(&mut self, command: &str, numbers: &[u64], answer: &mut Answer) {
        let index = |position: usize| numbers.get(position).map(|number| *number as usize);
        let pin = || Some((index(0).filter(|clock| *clock < 4)?, index(1)?));
        match command.split_whitespace().next().unwrap_or_default() {
            "setnumpseudoclocks" => match index(0).filter(|count| (1..=4).contains(count)) {
                Some(count) => {
                    self.clocks = count;
                    self.rows.fill(Row::STOP);
                    self.waits = Default::default();
                    answer.say("ok", END);
                }
                None => answer.say("The number of pseudoclocks must be between 1 and 4 (inclusive)", END),
            },
            "setinpin" if pin().is_some_and(|(_, pin)| pin <= 19) => answer.say("ok", END),
            "setoutpin" if pin().is_some_and(|(_, pin)| pin <= 19 || pin == 25) => answer.say("ok", END),
            "setclock" => match *numbers {
                [source @ 0..=2, hz] if (1..=133_000_000).contains(&hz) => {
                    (self.source, self.hz) = (source, hz as u32);
                    answer.say("ok", END);
                }
                _ => answer.say("Invalid clock frequency specified", END),
            },
            "setb" => match (index(0), index(1), index(2)) {
                (Some(clock @ 0..4), Some(at), Some(count)) if at + count < ROWS => {
                    answer.say("ready", END);
                    if count == 0 {
                        answer.say("ok", END);
                    }
                    self.loading = Some((clock, at));
                    answer.want(8 * count);
                }
                _ => answer.say("invalid request", "\n"),
            },
            "set" => match (index(0), index(1), numbers.get(2), numbers.get(3)) {
                (Some(clock @ 0..4), Some(at @ 0..ROWS), Some(&cycles), Some(&repetitions)) => {
                    let row = Row { cycles: cycles as u32, repetitions: repetitions as u32 };
                    if self.set(clock, at, row, answer) {
                        answer.say("ok", END);
                    }
                }
                _ => answer.say("invalid address", END),
            },
            "get" => {
                let row =
                    index(0).zip(index(1)).and_then(|(clock, at)| self.place(clock, at)).map(|place| self.rows[place]);
                let row = row.map_or("invalid address".to_owned(), |row| format!("{} {}", row.cycles, row.repetitions));
                answer.say(&row, END);
            }
            "start" => {
                self.start();
                answer.say("ok", END);
            }
            _ => answer.say(&format!("Unknown command: {command}{END}"), END),
        }
    }

    fn level(&mut self, command: &str, high: bool, answer: &mut Answer) {
        let clock = command.split_whitespace().nth(2).and_then(|clock| clock.parse::<usize>().ok());
        match clock.filter(|clock| *clock < 4) {
            Some(clock) => {
                self.high[clock] = high;
                answer.say("ok", END);
            }
            None => answer.say("invalid request", END),
        }
    }
}

impl Firmware for SimulatedPrawnBlaster {
    fn obey(&mut self, command: &str, answer: &mut Answer) {
        // By the beginning only, as the board does.
        let is = |name: &str| command.starts_with(name);
        let numbers = words(command, 10);
        if is("version") {
            answer.say("version: 1.1.1", END);
        } else if is("status") {
            let clock = u64::from(self.source > 0 && self.has_reference);
            answer.say(&format!("run-status:{} clock-status:{clock}", self.status()), END);
        } else if is("debug") {
            answer.say("ok", END);
        } else if is("abort") {
            match (self.status(), &mut self.run) {
                (2, Some(run)) => {
                    run.is_aborted = true;
                    self.high = [false; 4];
                    answer.say("ok", END);
                }
                _ => answer.say("Can only abort when status is 1 or 2", END),
            }
        } else if is("getwait") {
            let wait = match numbers[..] {
                #[expect(clippy::cast_possible_truncation, reason = "as the board does")]
                [clock @ 0..4, wait] => self.waits[clock as usize].get(wait as usize).copied(),
                _ => None,
            };
            let is_ready = self.status() != 2;
            let wait = wait.filter(|_| is_ready).map_or("wait not yet available".to_owned(), |left| left.to_string());
            answer.say(&wait, END);
        } else if self.status() == 2 {
            let refusal = format!(
                "Cannot execute command \"{command}{END}\" during buffered execution. Check status first and wait for it to return 0 or 5 (stopped or aborted)."
            );
            answer.say(&refusal, END);
        } else if is("go high") {
            self.level(command, true, answer);
        } else if is("go low") {
            self.level(command, false, answer);
        } else {
            self.change(command, &numbers, answer);
        }
    }

    fn take(&mut self, block: &[u8], answer: &mut Answer) {
        let Some((clock, at)) = self.loading.take() else { return };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        // A row that is too short is skipped, and all that follow move down.
        let mut next = at;
        for record in block.chunks_exact(8) {
            let row = Row { cycles: number(&record[..4]), repetitions: number(&record[4..]) };
            next += usize::from(self.set(clock, next, row, answer));
        }
        if next == at + block.len() / 8 {
            answer.say("ok", END);
        }
    }
}
