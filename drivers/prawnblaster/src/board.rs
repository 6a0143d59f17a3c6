//! The commands of the board. Numbers are decimal, and success is `ok`.

use qspool_driver::{Capabilities, Deadline, DriverError, ErrorClass, Problem, Program, SafeState, StopSupport};
use qspool_pico::{Board, Model, PRAWN_HZ, Pico, Prawn, RunState, RunTime, Version};

use crate::simulated::SimulatedPrawnBlaster;
use crate::table::{INSTRUCTIONS, Row, Table};

/// The firmware that this driver was made for.
pub static MODEL: Model = Model {
    name: "PrawnBlaster",
    prefix: "version: ",
    // Before there is no binary load.
    oldest: Version(1, 1, 0),
    first_unknown: Version(1, 2, 0),
    largest_block: 8 * 30_000,
};

static PRAWN: Prawn = Prawn { status: "status", abort: "abort" };

/// What `getwait` gives for a wait that nothing has ended.
const TIMED_OUT: u64 = u32::MAX as u64;

/// What the board's clock is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockSource {
    /// Its own crystal.
    #[default]
    Internal,
    /// A reference at GPIO 20.
    Gpio20,
    /// A reference at GPIO 22.
    Gpio22,
}

/// How a board is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many clocks are used, 1 to 4.
    pub clocks: usize,
    /// The output pin of each clock; empty for the board's own choice, GPIO 9, 11, 13, 15.
    pub outputs: Vec<u8>,
    /// The trigger input of each clock; empty for the board's own choice, GPIO 0, 2, 4, 6.
    pub triggers: Vec<u8>,
    /// Where the clock comes from.
    pub source: ClockSource,
    /// Its frequency in Hz, at most 133 MHz.
    pub hz: u32,
}

impl Settings {
    /// So many clocks at 100 MHz, on the pins of the board's own choice.
    pub fn clocks(count: usize) -> Self {
        Self { clocks: count, outputs: Vec::new(), triggers: Vec::new(), source: ClockSource::Internal, hz: PRAWN_HZ }
    }

    fn check(&self) -> Result<(), String> {
        let Self { clocks, outputs, triggers, .. } = self;
        if !(1..=4).contains(clocks) {
            return Err(format!("{clocks} clocks not allowed; allowed: 1 to 4"));
        }
        for (what, pins) in [("output", outputs), ("trigger", triggers)] {
            if !pins.is_empty() && pins.len() != *clocks {
                return Err(format!("{} {what} pins for {clocks} clocks; allowed: one for each, or none", pins.len()));
            }
        }
        if let Some(pin) = outputs.iter().find(|pin| **pin > 19 && **pin != 25) {
            return Err(format!("output pin {pin} not allowed; allowed: 0 to 19, 25"));
        }
        if (1..outputs.len()).any(|index| outputs[..index].contains(&outputs[index])) {
            return Err(format!("output pins {outputs:?} not allowed; allowed: each once"));
        }
        if let Some(pin) = triggers.iter().find(|pin| **pin > 19 || outputs.contains(pin)) {
            return Err(format!("trigger pin {pin} not allowed; allowed: 0 to 19, and no output"));
        }
        Prawn::check_hz(self.hz)
    }
}

/// The board.
#[derive(Debug, Clone)]
pub struct PrawnBlaster {
    settings: Settings,
}

impl PrawnBlaster {
    /// A board that is set up like this.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, DriverError> {
        let wrong = |what| DriverError::new(ErrorClass::Configuration, format!("{}: {what}", MODEL.name));
        settings.check().map_err(wrong)?;
        Ok(Self { settings })
    }
}

impl Board for PrawnBlaster {
    type Table = Table;
    type Simulated = SimulatedPrawnBlaster;

    fn model(&self) -> &'static Model {
        &MODEL
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: INSTRUCTIONS.map(ToOwned::to_owned).to_vec(),
            num_wires: u32::try_from(self.settings.clocks).unwrap_or(u32::MAX),
            max_shots: 1_000_000,
            largest_value: i64::from(u32::MAX) * 400,
            stop: StopSupport::Now,
            calibration: None,
        }
    }

    fn compile(&self, program: &Program) -> Result<Table, Problem> {
        Table::of(program, self.settings.clocks, self.settings.hz)
    }

    fn run_time(&self, table: &Table) -> RunTime {
        table.run_time(self.settings.hz)
    }

    fn set_up(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        let Settings { source, hz, .. } = self.settings;
        pico.order("debug off", deadline)?;
        let source = match source {
            ClockSource::Internal => 0,
            ClockSource::Gpio20 => 1,
            ClockSource::Gpio22 => 2,
        };
        pico.order(&format!("setclock {source} {hz}"), deadline)?;
        pico.order(&format!("setnumpseudoclocks {}", self.settings.clocks), deadline)?;
        for (clock, pin) in self.settings.outputs.iter().enumerate() {
            pico.order(&format!("setoutpin {clock} {pin}"), deadline)?;
        }
        for (clock, pin) in self.settings.triggers.iter().enumerate() {
            pico.order(&format!("setinpin {clock} {pin}"), deadline)?;
        }
        Ok(())
    }

    fn load(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<(), DriverError> {
        // It forgets all rows and waits: none of the last program is left behind a shorter one.
        pico.order(&format!("setnumpseudoclocks {}", self.settings.clocks), deadline)?;
        for (clock, rows) in table.clocks.iter().enumerate() {
            let bytes: Vec<u8> = rows.iter().chain([&Row::STOP]).flat_map(|row| row.bytes()).collect();
            pico.load(&format!("setb {clock} 0 {}", rows.len() + 1), "ready", &bytes, deadline)?;
        }
        Ok(())
    }

    fn start(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        pico.order("start", deadline)
    }

    fn state(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
        PRAWN.state(pico, self.settings.source != ClockSource::Internal, deadline)
    }

    fn values(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<Vec<i64>, DriverError> {
        let mut values = Vec::with_capacity(table.measured.len());
        for &clock in &table.measured {
            let waits = table.clocks[clock].iter().filter(|row| row.is_wait());
            let mut sum = 0;
            for (index, wait) in waits.enumerate() {
                // What is left of the time-out.
                let left =
                    pico.ask_for(&format!("getwait {clock} {index}"), |reply| reply.parse::<u64>().ok(), deadline)?;
                let given = i64::from(wait.cycles);
                sum += if left == TIMED_OUT { given } else { (given - i64::try_from(left).unwrap_or(given)).max(0) };
            }
            values.push(sum);
        }
        Ok(values)
    }

    fn make_safe(&self, pico: &mut Pico, deadline: Deadline) -> Result<SafeState, DriverError> {
        let state = PRAWN.abort(pico, deadline)?;
        for clock in 0..self.settings.clocks {
            pico.order(&format!("go low {clock}"), deadline)?;
        }
        // The levels of the pins cannot be read.
        Ok(SafeState { read_back: vec![format!("status: {state:?}, told to be low: {} clocks", self.settings.clocks)] })
    }
}
