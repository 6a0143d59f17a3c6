//! The commands of the board. Success is `ok` with nothing before it, as long as `debug` is off.

use std::time::Duration;

use qspool_driver::{Capabilities, Deadline, DriverError, ErrorClass, Problem, Program, SafeState, StopSupport};
use qspool_pico::{Board, Model, Pico, RunState, RunTime, Version, cycles};

use crate::simulated::SimulatedDdsSweeper;
use crate::table::{CHANNELS, INSTRUCTIONS, Limits, Table};

/// The firmware that this driver was made for.
pub static MODEL: Model = Model {
    name: "DDS sweeper",
    prefix: "",
    oldest: Version(0, 4, 0),
    first_unknown: Version(0, 5, 0),
    // 4032 rows of four channels with a time are the most that this driver sends; others may have sent sweeps.
    largest_block: 200_000,
};

/// The most rows of tones, for 1 to 4 channels, with triggers from outside and without.
const ROWS_TRIGGERED: [usize; CHANNELS] = [16_656, 8615, 5810, 4383];
const ROWS_TIMED: [usize; CHANNELS] = [5000, 5000, 5000, 4032];

/// The shortest time between two rows in cycles of the Pico's clock, for 1 to 4 channels.
const SHORTEST: [u32; CHANNELS] = [500, 750, 1000, 1250];

/// A state that lasts longer than this on its way to another one lasts for ever.
const STUCK: Duration = Duration::from_millis(300);

/// What makes the board go on to the next row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trigger {
    /// The time of each row.
    #[default]
    Timed,
    /// An edge at its trigger input.
    External {
        /// How long it may take until the last edge has come.
        wait: Duration,
    },
}

/// What the AD9959 gets its clock from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Whether it comes from outside, and not from the Pico.
    pub is_external: bool,
    /// Its frequency in Hz; that of the Pico is 125 MHz.
    pub hz: u32,
    /// What the AD9959 multiplies it by: 1, or 4 to 20.
    pub multiplier: u32,
}

/// How a board is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The channels in use, 1 to 4, from the first on.
    pub channels: usize,
    /// What makes it go on to the next row.
    pub trigger: Trigger,
    /// The clock of the AD9959.
    pub reference: Reference,
}

impl Reference {
    /// The clock of the Pico, times 4.
    pub const PICO: Self = Self { is_external: false, hz: 125_000_000, multiplier: 4 };

    /// The system clock of the AD9959 in Hz.
    pub fn system_clock(self) -> f64 {
        f64::from(self.hz) * f64::from(self.multiplier)
    }

    fn check(self) -> Result<(), String> {
        let Self { is_external, hz, multiplier } = self;
        if multiplier != 1 && !(4..=20).contains(&multiplier) {
            return Err(format!("multiplier {multiplier} not allowed; allowed: 1, 4 to 20"));
        }
        if u64::from(hz) * u64::from(multiplier) > 500_000_000 || hz < 1_000_000 {
            return Err(format!("{hz} Hz times {multiplier} not allowed; allowed: from 1 MHz, in all 500 MHz at most"));
        }
        if !is_external && hz > 133_000_000 {
            return Err(format!("{hz} Hz not allowed; allowed from the Pico: at most 133 MHz"));
        }
        Ok(())
    }
}

impl Default for Settings {
    /// One channel, by the time of each row, with the 125 MHz of the Pico times 4.
    fn default() -> Self {
        Self { channels: 1, trigger: Trigger::Timed, reference: Reference::PICO }
    }
}

/// The board.
#[derive(Debug, Clone)]
pub struct DdsSweeper {
    settings: Settings,
}

impl DdsSweeper {
    /// A board that is set up like this.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, DriverError> {
        let wrong = |what| DriverError::new(ErrorClass::Configuration, format!("{}: {what}", MODEL.name));
        if !(1..=CHANNELS).contains(&settings.channels) {
            return Err(wrong(format!("{} channels not allowed; allowed: 1 to {CHANNELS}", settings.channels)));
        }
        settings.reference.check().map_err(wrong)?;
        Ok(Self { settings })
    }

    /// The clock of the Pico, which times the rows, in Hz.
    fn pico_hz(&self) -> u32 {
        if self.settings.reference.is_external { Reference::PICO.hz } else { self.settings.reference.hz }
    }

    fn is_timed(&self) -> bool {
        self.settings.trigger == Trigger::Timed
    }

    /// Sets the clock and the mode, in which alone tones can be set.
    fn set_mode(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        let Reference { is_external, hz, multiplier } = self.settings.reference;
        // It is on at first, and puts a line before the `ok`.
        pico.ask("debug off", deadline)?;
        pico.resynchronise(deadline)?;
        pico.order(&format!("setclock {} {hz} {multiplier}", u8::from(is_external)), deadline)?;
        pico.order(&format!("setchannels {}", self.settings.channels), deadline)?;
        pico.order(&format!("mode 0 {}", u8::from(self.is_timed())), deadline)
    }
}

fn run_state(pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
    let read = |reply: &str| match reply {
        "0" => Some(RunState::Stopped),
        "1" => Some(RunState::Starting),
        "2" => Some(RunState::Running),
        "3" => Some(RunState::Aborting),
        "4" => Some(RunState::Aborted),
        "5" => Some(RunState::Stopping),
        _ => None,
    };
    pico.ask_for("status", read, deadline)
}

impl Board for DdsSweeper {
    type Table = Table;
    type Simulated = SimulatedDdsSweeper;

    fn model(&self) -> &'static Model {
        &MODEL
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: INSTRUCTIONS.map(ToOwned::to_owned).to_vec(),
            num_wires: u32::try_from(self.settings.channels).unwrap_or(u32::MAX),
            max_shots: 1_000_000,
            largest_value: 20_000,
            stop: StopSupport::Now,
            calibration: None,
        }
    }

    fn compile(&self, program: &Program) -> Result<Table, Problem> {
        let channels = self.settings.channels;
        let rows = if self.is_timed() { ROWS_TIMED } else { ROWS_TRIGGERED };
        let limits = Limits {
            channels,
            // One place is left to the stop.
            rows: rows[channels - 1] - 1,
            shortest: SHORTEST[channels - 1],
            pico_hz: self.pico_hz(),
            system_clock: self.settings.reference.system_clock(),
        };
        Table::of(program, limits)
    }

    fn run_time(&self, table: &Table) -> RunTime {
        match self.settings.trigger {
            Trigger::Timed => {
                let sum = table.rows.iter().map(|row| u64::from(row.cycles)).sum();
                let time = cycles::time(sum, self.pico_hz());
                RunTime { shortest: time, longest: time }
            }
            Trigger::External { wait } => RunTime { shortest: Duration::ZERO, longest: wait },
        }
    }

    fn set_up(&self, _: &mut Pico, _: Deadline) -> Result<(), DriverError> {
        // Making it safe has done that: tones are set in one mode only.
        Ok(())
    }

    fn load(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<(), DriverError> {
        let mut bytes = Vec::new();
        for row in &table.rows {
            for tone in &row.tones {
                bytes.extend(tone.frequency.to_le_bytes());
                bytes.extend(tone.amplitude.to_le_bytes());
                bytes.extend(tone.phase.to_le_bytes());
                if self.is_timed() {
                    bytes.extend(row.cycles.to_le_bytes());
                }
            }
        }
        let rows = table.rows.len();
        pico.load(&format!("setb 0 {rows}"), &format!("ready for {} bytes", bytes.len()), &bytes, deadline)?;
        // Without it a start would leave the board in a state that only a reset ends.
        pico.order(&format!("set 4 {rows}"), deadline)
    }

    fn start(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        pico.order("start", deadline)
    }

    fn state(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
        run_state(pico, deadline)
    }

    fn values(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<Vec<i64>, DriverError> {
        if table.measured == 0 {
            return Ok(Vec::new());
        }
        let triggers = pico.ask_for("numtriggers", |reply| reply.parse::<u16>().ok(), deadline)?;
        Ok(vec![i64::from(triggers); table.measured])
    }

    fn make_safe(&self, pico: &mut Pico, deadline: Deadline) -> Result<SafeState, DriverError> {
        let mut state = run_state(pico, deadline)?;
        if !state.is_idle() {
            // Always `ok`, with or without effect, and with a line before it while `debug` is on.
            pico.ask("abort", deadline)?;
            pico.resynchronise(deadline)?;
            state = match pico.wait_for(run_state, RunState::is_idle, deadline.at_most(STUCK)) {
                Ok(state) => state,
                Err(error) if !pico.is_known() => return Err(error),
                // A start without an end leaves it in a state that only this ends.
                Err(_) => {
                    pico.ask("reset", deadline)?;
                    pico.resynchronise(deadline)?;
                    pico.wait_for(run_state, RunState::is_idle, deadline)?
                }
            };
        }
        // A reset has changed it. An abort leaves the outputs on.
        self.set_mode(pico, deadline)?;
        for channel in 0..CHANNELS {
            pico.order(&format!("setamp {channel} 0"), deadline)?;
        }
        // The AD9959 is not read back.
        Ok(SafeState { read_back: vec![format!("status: {state:?}, told to be silent: {CHANNELS} channels")] })
    }
}
