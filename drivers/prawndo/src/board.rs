//! The commands of the board. Numbers are hexadecimal, but for those of `clk`, and success is `ok`.

use std::time::Duration;

use qspool_driver::{Capabilities, Deadline, DriverError, ErrorClass, Problem, Program, SafeState, StopSupport};
use qspool_pico::{Board, Model, PRAWN_HZ, Pico, Prawn, RunState, RunTime, Version};

use crate::simulated::SimulatedPrawnDo;
use crate::table::{INSTRUCTIONS, OUTPUTS, ROWS, Row, Table};

/// The firmware that this driver was made for.
pub static MODEL: Model = Model {
    name: "PrawnDO",
    prefix: "Version: ",
    oldest: Version(1, 2, 0),
    first_unknown: Version(1, 4, 0),
    largest_block: 6 * ROWS,
};

static PRAWN: Prawn = Prawn { status: "sts", abort: "abt" };

/// How a board is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The levels of the safe state; that of output `n` is bit `n`.
    pub safe: u16,
    /// How long one wait for the trigger may take.
    pub wait: Duration,
    /// Whether the clock comes from a reference at GPIO 20, and not from the board's own crystal.
    pub is_external: bool,
    /// Its frequency in Hz, at most 133 MHz.
    pub hz: u32,
}

impl Default for Settings {
    /// All outputs low, 100 MHz from its own crystal, waits of 10 s at most.
    fn default() -> Self {
        Self { safe: 0, wait: Duration::from_secs(10), is_external: false, hz: PRAWN_HZ }
    }
}

/// The board.
#[derive(Debug, Clone)]
pub struct PrawnDo {
    settings: Settings,
}

impl PrawnDo {
    /// A board that is set up like this.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, DriverError> {
        let wrong = |what| DriverError::new(ErrorClass::Configuration, format!("{}: {what}", MODEL.name));
        Prawn::check_hz(settings.hz).map_err(wrong)?;
        Ok(Self { settings })
    }
}

fn levels(pico: &mut Pico, deadline: Deadline) -> Result<u16, DriverError> {
    pico.ask_for("gto", |reply| u16::from_str_radix(reply, 16).ok(), deadline)
}

impl Board for PrawnDo {
    type Table = Table;
    type Simulated = SimulatedPrawnDo;

    fn model(&self) -> &'static Model {
        &MODEL
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: INSTRUCTIONS.map(ToOwned::to_owned).to_vec(),
            num_wires: OUTPUTS,
            max_shots: 1_000_000,
            largest_value: 1,
            stop: StopSupport::Now,
            calibration: None,
        }
    }

    fn compile(&self, program: &Program) -> Result<Table, Problem> {
        Table::of(program, self.settings.safe, self.settings.hz)
    }

    fn run_time(&self, table: &Table) -> RunTime {
        table.run_time(self.settings.hz, self.settings.wait)
    }

    fn set_up(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        pico.order("ndb", deadline)?;
        let source = u8::from(self.settings.is_external);
        pico.order(&format!("clk {source} {}", self.settings.hz), deadline)
    }

    fn load(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<(), DriverError> {
        pico.order("cls", deadline)?;
        let end = Row { levels: table.last, cycles: 0 };
        let bytes: Vec<u8> = table.rows.iter().chain([&end, &end]).flat_map(|row| row.bytes()).collect();
        pico.load(&format!("adm 0 {:x}", table.rows.len() + 2), "ready", &bytes, deadline)
    }

    fn start(&self, pico: &mut Pico, deadline: Deadline) -> Result<(), DriverError> {
        // The run itself waits for the trigger, where it should.
        pico.order("swr", deadline)
    }

    fn state(&self, pico: &mut Pico, deadline: Deadline) -> Result<RunState, DriverError> {
        PRAWN.state(pico, self.settings.is_external, deadline)
    }

    fn values(&self, pico: &mut Pico, table: &Table, deadline: Deadline) -> Result<Vec<i64>, DriverError> {
        if table.measured.is_empty() {
            return Ok(Vec::new());
        }
        let levels = levels(pico, deadline)?;
        Ok(table.measured.iter().map(|output| i64::from(levels >> output & 1)).collect())
    }

    fn make_safe(&self, pico: &mut Pico, deadline: Deadline) -> Result<SafeState, DriverError> {
        PRAWN.abort(pico, deadline)?;
        // An abort leaves the outputs as they were. Of more than 16 bits the board would make a start.
        let safe = self.settings.safe;
        pico.order(&format!("man {safe:x}"), deadline)?;
        let now = levels(pico, deadline)?;
        if now == safe {
            return Ok(SafeState { read_back: vec![format!("outputs: {now:04x}")] });
        }
        let what = format!("its outputs are {now:04x}, not {safe:04x}; look what else drives its pins");
        Err(pico.fail(ErrorClass::Device, &what).sent("gto"))
    }
}
