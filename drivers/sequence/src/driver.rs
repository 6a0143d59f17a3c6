//! Four devices, run as one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qspool_dds_sweeper::{DdsSweeper, SimulatedDdsSweeper, Trigger};
use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Outcome, Problem, Program, RunControl,
    RunEnd, RunPlan, SafeState, ShotSink, StopFlag, StopSupport,
};
use qspool_line::{LineDriver, LineFile};
use qspool_pico::Part;
use qspool_prawnblaster::{PrawnBlaster, SimulatedPrawnBlaster};
use qspool_prawndo::{PrawnDo, SimulatedPrawnDo};
use qspool_serial::Dialogue;

use crate::file::SequenceFile;
use crate::sequence::Sequence;
use crate::simulated::Apparatus;

/// What a shot may take beyond its time, for the commands around it.
const MARGIN: Duration = Duration::from_secs(3);

/// How long making safe may take where nobody says.
const SAFE: Duration = Duration::from_secs(3);

/// Where the four devices are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// The `PrawnBlaster`.
    pub clock: PathBuf,
    /// The `PrawnDO`.
    pub outputs: PathBuf,
    /// The DDS sweeper.
    pub sweeper: PathBuf,
    /// The device that is read out.
    pub readout: PathBuf,
}

/// Runs programs on the apparatus of a [`SequenceFile`].
pub struct SequenceDriver {
    file: SequenceFile,
    clock: Part<PrawnBlaster>,
    outputs: Part<PrawnDo>,
    sweeper: Part<DdsSweeper>,
    readout: LineDriver,
    /// What stands in for all of it.
    apparatus: Option<Apparatus>,
    is_set_up: bool,
    prepared: Option<Sequence>,
}

impl SequenceDriver {
    /// The apparatus of a file, at these ports, or a simulated one where there are none. Nothing is touched yet.
    ///
    /// # Errors
    ///
    /// What is wrong with the file of the read-out; that the file simulates nothing.
    pub fn new(file: SequenceFile, ports: Option<&Ports>) -> Result<Self, DriverError> {
        let failed = |what: String| DriverError::new(ErrorClass::Configuration, what);
        let simulation = Simulation::default();
        let (ports, apparatus) = match ports {
            Some(ports) => (ports.clone(), None),
            None => {
                let apparatus = Apparatus::connect(&file, &simulation)?;
                let sim = || PathBuf::from("sim:");
                let readout = apparatus.counter.path().to_owned();
                (Ports { clock: sim(), outputs: sim(), sweeper: sim(), readout }, Some(apparatus))
            }
        };
        let wait = Duration::try_from_secs_f64(file.device.max_duration_s).unwrap_or(MARGIN) + MARGIN;
        let clock = PrawnBlaster::new(qspool_prawnblaster::Settings::clocks(1))?;
        let outputs = PrawnDo::new(qspool_prawndo::Settings { safe: file.safe, wait, ..Default::default() })?;
        let trigger = Trigger::External { wait };
        let sweeper = DdsSweeper::new(qspool_dds_sweeper::Settings { trigger, ..Default::default() })?;
        let readout = LineFile::load(&file.readout.file).map_err(|error| failed(error.to_string()))?;
        let readout = LineDriver::new(readout, &ports.readout.to_string_lossy())?;
        Ok(Self {
            clock: Part::with_firmware(clock, &ports.clock, simulation.clock)?,
            outputs: Part::with_firmware(outputs, &ports.outputs, simulation.outputs)?,
            sweeper: Part::with_firmware(sweeper, &ports.sweeper, simulation.sweeper)?,
            readout,
            file,
            apparatus,
            is_set_up: false,
            prepared: None,
        })
    }

    /// Shows every line that is sent or comes back, with the part that it belongs to.
    pub fn listen(&mut self, listener: impl FnMut(&str, Dialogue<'_>) + Send + 'static) {
        let listener = Arc::new(Mutex::new(listener));
        let part = |name: &'static str| {
            let listener = Arc::clone(&listener);
            move |said: Dialogue<'_>| {
                (listener.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(name, said);
            }
        };
        self.clock.pico.listen(part("clock"));
        self.outputs.pico.listen(part("outputs"));
        self.sweeper.pico.listen(part("sweeper"));
        self.readout.listen(part("readout"));
    }

    fn fail(&self, class: ErrorClass, what: &str) -> DriverError {
        DriverError::new(class, format!("{}: {what}", self.file.device.name))
    }

    fn check_ready(&self) -> Result<(), DriverError> {
        let are_known = self.clock.pico.is_known() && self.outputs.pico.is_known() && self.sweeper.pico.is_known();
        if self.is_set_up && are_known {
            return Ok(());
        }
        Err(self.fail(ErrorClass::Device, "was not identified and configured since one of its parts was away"))
    }

    /// Makes all parts safe, also where one of them fails: those that switch first.
    fn make_safe(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        self.prepared = None;
        // A part that does not answer leaves the others their share of the time.
        let share = |parts: u32| deadline.at_most(deadline.remaining() / parts);
        let parts = [
            ("outputs", self.outputs.make_safe(share(4))),
            ("sweeper", self.sweeper.make_safe(share(3))),
            ("clock", self.clock.make_safe(share(2))),
            ("readout", self.readout.safe_state(deadline)),
        ];
        let mut read_back = Vec::new();
        for (name, state) in parts {
            let lines = state?.read_back;
            read_back.extend(lines.iter().map(|line| format!("{name}: {line}")));
        }
        Ok(SafeState { read_back })
    }

    /// Runs one shot; none when it was stopped in the middle.
    fn shot(&mut self, sequence: &Sequence, control: &RunControl) -> Result<Option<Vec<i64>>, DriverError> {
        let limit = control.deadline.at_most(sequence.time.saturating_add(MARGIN));
        let control = RunControl { deadline: limit, after_shot: StopFlag::default(), ..control.clone() };
        // Loading arms it for the pulse that begins the read-out.
        self.readout.prepare(&sequence.readout, limit)?;
        // A clock may have been lost since it was looked at last.
        self.clock.state(limit)?;
        self.outputs.state(limit)?;
        self.sweeper.start(limit)?;
        self.outputs.start(limit)?;
        self.clock.start(limit)?;
        let is_over = control.sleep_until(Deadline::after(sequence.time))
            && self.clock.wait_for_end(&control)?
            && self.outputs.wait_for_end(&control)?
            && self.sweeper.wait_for_end(&control)?;
        if !is_over {
            return Ok(None);
        }
        let mut outcome = Outcome::default();
        match self.readout.run(&control, &mut outcome)? {
            RunEnd::Stopped => Ok(None),
            RunEnd::Complete => Ok(outcome.rows().next().map(<[i64]>::to_vec)),
        }
    }
}

/// The firmware of the simulated boards.
#[derive(Clone, Default)]
pub(crate) struct Simulation {
    pub(crate) clock: Arc<Mutex<SimulatedPrawnBlaster>>,
    pub(crate) outputs: Arc<Mutex<SimulatedPrawnDo>>,
    pub(crate) sweeper: Arc<Mutex<SimulatedDdsSweeper>>,
}

impl Driver for SequenceDriver {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        let parts = [
            self.clock.pico.identify(deadline)?,
            self.outputs.pico.identify(deadline)?,
            self.sweeper.pico.identify(deadline)?,
            self.readout.identify(deadline)?,
        ];
        let join = |text: fn(&Identity) -> String| {
            let texts = parts.iter().map(text).filter(|text| !text.trim().is_empty());
            texts.collect::<Vec<_>>().join(", ")
        };
        Ok(Identity {
            vendor: String::new(),
            model: self.file.device.name.clone(),
            serial: join(|part| part.serial.clone()),
            firmware: join(|part| format!("{} {}", part.model, part.firmware)),
            is_simulated: self.apparatus.is_some(),
        })
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        // Those that switch first.
        self.outputs.set_up(deadline)?;
        self.sweeper.set_up(deadline)?;
        self.clock.set_up(deadline)?;
        self.readout.configure(deadline)?;
        self.is_set_up = true;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        let readout = self.readout.capabilities();
        let gates = self.file.gates.keys().cloned();
        Capabilities {
            instructions: gates.chain(["measure".to_owned(), "barrier".to_owned()]).collect(),
            num_wires: self.file.device.num_wires,
            max_shots: self.file.device.max_shots,
            largest_value: readout.largest_value,
            stop: StopSupport::Now,
            calibration: Some(self.file.calibration.label()),
        }
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let most = self.file.device.max_shots;
        if program.shots > most {
            return Err(Problem::of_program(format!("{} shots not allowed; allowed: 1 to {most}", program.shots)));
        }
        let sequence = Sequence::of(&self.file, program)?;
        // Its instructions are counted from the first measurement on.
        self.readout.validate(&sequence.readout).map_err(|problem| Problem::of_program(problem.what))
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.prepared = None;
        let are_doubtful =
            self.clock.pico.is_doubtful() || self.outputs.pico.is_doubtful() || self.sweeper.pico.is_doubtful();
        if self.is_set_up && are_doubtful {
            self.identify(deadline)?;
            self.configure(deadline)?;
        }
        self.check_ready()?;
        let refused = |problem: Problem| DriverError::new(ErrorClass::Job, problem.to_string());
        let sequence = Sequence::of(&self.file, program).map_err(refused)?;
        self.clock.load(&sequence.clock, deadline)?;
        self.outputs.load(&sequence.outputs, deadline)?;
        self.sweeper.load(&sequence.sweeper, deadline)?;
        let per_shot = sequence.time;
        self.prepared = Some(sequence);
        Ok(RunPlan { per_shot, total: per_shot.saturating_mul(program.shots) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.check_ready()?;
        let Some(sequence) = self.prepared.take() else {
            return Err(self.fail(ErrorClass::Job, "has no program"));
        };
        for _ in 0..sequence.shots {
            if control.is_stopped() {
                return self.make_safe(Deadline::after(SAFE)).map(|_| RunEnd::Stopped);
            }
            match self.shot(&sequence, control)? {
                Some(values) => shots.shot(&values),
                None => return self.make_safe(Deadline::after(SAFE)).map(|_| RunEnd::Stopped),
            }
        }
        Ok(RunEnd::Complete)
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        self.make_safe(deadline)
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.check_ready()?;
        self.clock.state(deadline).map_err(DriverError::outside_of_run)?;
        self.outputs.state(deadline).map_err(DriverError::outside_of_run)?;
        self.sweeper.state(deadline).map_err(DriverError::outside_of_run)?;
        self.readout.health(deadline)
    }

    fn close(&mut self) {
        if self.check_ready().is_ok() {
            // There is nobody left to tell if it fails: a part is away.
            drop(self.make_safe(Deadline::after(SAFE)));
        }
        self.is_set_up = false;
        self.outputs.pico.close();
        self.sweeper.pico.close();
        self.clock.pico.close();
        self.readout.close();
    }
}
