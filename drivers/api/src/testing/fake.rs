//! A driver with a device that exists only in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink, StopSupport,
};

/// What a [`Fake`] can do.
#[derive(Debug, Clone)]
pub struct FakeSettings {
    /// What it says of itself.
    pub identity: Identity,
    /// Its limits.
    pub capabilities: Capabilities,
    /// No parameter of an instruction may be larger, nor smaller than its negative.
    pub largest_param: f64,
    /// How long one shot takes.
    pub shot_time: Duration,
    /// How it breaks the contract, if it does.
    pub defect: Option<Defect>,
}

impl Default for FakeSettings {
    /// Four wires; the instructions `load`, `rx`, `barrier` and `measure`; a millisecond per shot.
    fn default() -> Self {
        Self {
            identity: Identity {
                vendor: "qspool".to_owned(),
                model: "fake".to_owned(),
                serial: "0001".to_owned(),
                firmware: "1.0".to_owned(),
                is_simulated: true,
            },
            capabilities: Capabilities {
                instructions: ["load", "rx", "barrier", "measure"].map(ToOwned::to_owned).to_vec(),
                num_wires: 4,
                max_shots: 1000,
                largest_value: 100,
                stop: StopSupport::Now,
                calibration: None,
            },
            largest_param: 500.0,
            shot_time: Duration::from_millis(1),
            defect: None,
        }
    }
}

/// A way to break the contract, for the tests of those who have to find it or bear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Another serial number at each question.
    IdentityChanges,
    /// The safe state only after `identify`.
    SafeStateComesLate,
    /// `validate` panics while the device is away.
    LimitsNeedTheDevice,
    /// A problem names no instruction.
    ProblemsWithoutInstruction,
    /// The limits are not checked.
    NothingIsChecked,
    /// A run without a program is empty and good.
    RunsUnprepared,
    /// One shot is missing, and the run is complete.
    LosesAShot,
    /// A shot has one value too few.
    LosesAValue,
    /// A value is larger than the largest.
    ValueTooLarge,
    /// The first program is run again and again.
    KeepsTheProgram,
    /// Runs on when it is told to stop.
    IgnoresStops,
    /// Stops with the outputs on.
    StopsUnsafely,
    /// Sleeps as long as it likes.
    IgnoresDeadlines,
    /// A device that was unplugged is gone for ever.
    StaysAway,
    /// A device that is away is called a mistake in the settings.
    WrongClass,
    /// Cannot be used after `close`.
    StaysClosed,
}

/// What a driver was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// [`Driver::identify`].
    Identify,
    /// [`Driver::configure`].
    Configure,
    /// [`Driver::prepare`].
    Prepare,
    /// [`Driver::run`].
    Run,
    /// [`Driver::safe_state`].
    SafeState,
    /// [`Driver::health`].
    Health,
    /// [`Driver::close`].
    Close,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error of this class.
    Error(ErrorClass),
    /// No answer until the deadline, then an error of the class `Device`.
    Silence,
    /// The driver does not come back for so long, whatever the deadline is; then all is well.
    Hang(Duration),
    /// The driver panics.
    Panic,
}

/// A driver with a device that exists only in memory. Shot `s` of measured value `v` is `(s + v) % (largest + 1)`.
#[derive(Debug)]
pub struct Fake {
    settings: FakeSettings,
    device: FakeDevice,
    is_closed: bool,
}

/// The device behind a [`Fake`], in the hand of a test. Clones are the same device.
#[derive(Debug, Clone, Default)]
pub struct FakeDevice(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_away: bool,
    is_unsafe: bool,
    stage: Stage,
    program: Option<Program>,
    requests: Vec<Request>,
    once: VecDeque<(Request, u32, Fault)>,
    always: Option<(Option<Request>, Fault)>,
    identities: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Unknown,
    Known,
    Configured,
}

impl FakeDevice {
    /// Pulls the plug: the device forgets everything, and each request fails with the class `Device`.
    pub fn unplug(&self) {
        let mut state = self.state();
        (state.is_away, state.stage, state.program) = (true, Stage::Unknown, None);
    }

    /// Plugs it in again.
    pub fn replug(&self) {
        self.state().is_away = false;
    }

    /// The next such request goes wrong; several are kept in their order.
    pub fn inject(&self, request: Request, fault: Fault) {
        self.inject_after(request, 0, fault);
    }

    /// The next run goes wrong after so many of its shots.
    pub fn inject_in_run(&self, after_shots: u32, fault: Fault) {
        self.inject_after(Request::Run, after_shots, fault);
    }

    fn inject_after(&self, request: Request, after: u32, fault: Fault) {
        self.state().once.push_back((request, after, fault));
    }

    /// Every such request goes wrong, or every one at all, until [`mend`](Self::mend).
    pub fn break_down(&self, request: Option<Request>, fault: Fault) {
        self.state().always = Some((request, fault));
    }

    /// Takes back every fault.
    pub fn mend(&self) {
        let mut state = self.state();
        state.once.clear();
        state.always = None;
    }

    /// Whether the outputs are in their safe state.
    pub fn is_safe(&self) -> bool {
        !self.state().is_unsafe
    }

    /// Everything that the driver was asked for, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    // A driver that panics on purpose must not take the test's hand away.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fake {
    /// A driver with a device that is plugged in.
    pub fn new(settings: FakeSettings) -> Self {
        Self { settings, device: FakeDevice::default(), is_closed: false }
    }

    /// The device, for the hand of a test. Other drivers of it are made by [`on`](Self::on).
    pub fn device(&self) -> FakeDevice {
        self.device.clone()
    }

    /// A driver on this device, as after a restart of the daemon.
    pub fn on(device: FakeDevice, settings: FakeSettings) -> Self {
        Self { settings, device, is_closed: false }
    }

    fn has(&self, defect: Defect) -> bool {
        self.settings.defect == Some(defect)
    }

    fn begin(&self, request: Request, deadline: Deadline) -> Result<(), DriverError> {
        let is_away = {
            let mut state = self.device.state();
            state.requests.push(request);
            state.is_away
        };
        if is_away || self.is_closed {
            let class = if self.has(Defect::WrongClass) { ErrorClass::Configuration } else { ErrorClass::Device };
            return Err(DriverError::new(class, "the fake device is not there; plug it in"));
        }
        self.meet_fault(request, 0, deadline)
    }

    fn meet_fault(&self, request: Request, shot: u32, deadline: Deadline) -> Result<(), DriverError> {
        let fault = {
            let mut state = self.device.state();
            let next = state.once.iter().position(|&(which, after, _)| which == request && after == shot);
            let always = || {
                let (which, fault) = state.always.clone()?;
                which.is_none_or(|which| which == request).then_some(fault)
            };
            match next {
                Some(index) => state.once.remove(index).map(|(_, _, fault)| fault),
                None => always(),
            }
        };
        match fault {
            None => Ok(()),
            Some(Fault::Error(class)) => {
                Err(DriverError::new(class, format!("the fake device failed to {request:?}, as it was told to")))
            }
            Some(Fault::Silence) => {
                let longer = if self.has(Defect::IgnoresDeadlines) { Duration::from_secs(3) } else { Duration::ZERO };
                thread::sleep(deadline.remaining() + longer);
                let what = format!("the fake device did not answer within {:?}", deadline.given());
                Err(DriverError::new(ErrorClass::Device, what))
            }
            Some(Fault::Hang(time)) => {
                thread::sleep(time);
                Ok(())
            }
            Some(Fault::Panic) => panic!("the fake device panics on {request:?}, as it was told to"),
        }
    }

    fn row(&self, program: &Program, shot: u32) -> Vec<i64> {
        let largest = self.settings.capabilities.largest_value;
        let row = (0..program.measured_values()).map(|value| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            i64::from(shot).saturating_add(value) % largest.saturating_add(1)
        });
        let mut row: Vec<i64> = row.collect();
        if self.has(Defect::LosesAValue) {
            row.pop();
        }
        if self.has(Defect::ValueTooLarge) {
            row.fill(largest.saturating_add(1));
        }
        row
    }

    /// Waits for the end of a shot; `false` when it was told to stop at once.
    fn wait_for_shot(&self, control: &RunControl) -> Result<bool, DriverError> {
        let shot = Deadline::after(self.settings.shot_time);
        while !shot.is_over() {
            let may_stop = self.settings.capabilities.stop == StopSupport::Now && !self.has(Defect::IgnoresStops);
            if may_stop && control.now.is_raised() {
                return Ok(false);
            }
            if control.deadline.is_over() && !self.has(Defect::IgnoresDeadlines) {
                let what = format!("the fake device did not end its shots within {:?}", control.deadline.given());
                return Err(DriverError::new(ErrorClass::Device, what));
            }
            thread::sleep(shot.remaining().min(Duration::from_millis(10)));
        }
        Ok(true)
    }

    fn run_shots(
        &self,
        program: &Program,
        control: &RunControl,
        shots: &mut dyn ShotSink,
    ) -> Result<RunEnd, DriverError> {
        let may_stop = self.settings.capabilities.stop >= StopSupport::AfterShot && !self.has(Defect::IgnoresStops);
        let count = program.shots - u32::from(self.has(Defect::LosesAShot));
        for shot in 0..count {
            if may_stop && control.is_stopped() {
                return Ok(RunEnd::Stopped);
            }
            if self.device.state().is_away {
                return Err(DriverError::new(ErrorClass::Device, "the fake device hung up; check its cable"));
            }
            if shot > 0 {
                self.meet_fault(Request::Run, shot, control.deadline)?;
            }
            if !self.wait_for_shot(control)? {
                return Ok(RunEnd::Stopped);
            }
            shots.shot(&self.row(program, shot));
        }
        Ok(RunEnd::Complete)
    }
}

fn too_early(what: &str) -> DriverError {
    DriverError::new(ErrorClass::Device, format!("the fake device has to be {what} first"))
}

impl Driver for Fake {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        self.is_closed &= self.has(Defect::StaysClosed);
        let was_known = self.device.state().identities > 0;
        if self.has(Defect::StaysAway) && was_known && self.device.state().stage == Stage::Unknown {
            return Err(DriverError::new(ErrorClass::Device, "the fake device stays away"));
        }
        self.begin(Request::Identify, deadline)?;
        let mut state = self.device.state();
        state.stage = Stage::Known;
        state.identities += 1;
        let mut identity = self.settings.identity.clone();
        if self.has(Defect::IdentityChanges) {
            identity.serial = state.identities.to_string();
        }
        Ok(identity)
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        self.begin(Request::Configure, deadline)?;
        let mut state = self.device.state();
        if state.stage == Stage::Unknown {
            return Err(too_early("identified"));
        }
        (state.stage, state.is_unsafe) = (Stage::Configured, false);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.settings.capabilities.clone()
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let limits = &self.settings.capabilities;
        let largest = self.settings.largest_param;
        assert!(!(self.has(Defect::LimitsNeedTheDevice) && self.device.state().is_away), "the device is away");
        if self.has(Defect::NothingIsChecked) {
            return Ok(());
        }
        if program.shots > limits.max_shots {
            let what = format!("{} shots; allowed are 1 to {}", program.shots, limits.max_shots);
            return Err(Problem::of_program(what));
        }
        for (index, instruction) in program.instructions.iter().enumerate() {
            let problem = |what: String| {
                if self.has(Defect::ProblemsWithoutInstruction) {
                    return Err(Problem::of_program(what));
                }
                Err(Problem::of_instruction(index, &instruction.name, what))
            };
            if !limits.instructions.contains(&instruction.name) {
                return problem(format!("unknown; allowed are {}", limits.instructions.join(", ")));
            }
            if let Some(wire) = instruction.wires.iter().find(|&&wire| wire >= limits.num_wires) {
                return problem(format!("wire {wire}; allowed are 0 to {}", limits.num_wires - 1));
            }
            if let Some(param) = instruction.params.iter().find(|param| param.abs() > largest) {
                return problem(format!("parameter {param}; allowed are -{largest} to {largest}"));
            }
        }
        Ok(())
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.begin(Request::Prepare, deadline)?;
        let mut state = self.device.state();
        if state.stage != Stage::Configured {
            return Err(too_early("configured"));
        }
        if !(self.has(Defect::KeepsTheProgram) && state.program.is_some()) {
            state.program = Some(program.clone());
        }
        let per_shot = self.settings.shot_time;
        Ok(RunPlan { per_shot, total: per_shot.saturating_mul(program.shots) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.begin(Request::Run, control.deadline)?;
        let Some(program) = self.device.state().program.clone() else {
            return if self.has(Defect::RunsUnprepared) { Ok(RunEnd::Complete) } else { Err(too_early("prepared")) };
        };
        self.device.state().is_unsafe = true;
        let end = self.run_shots(&program, control, shots);
        let is_left_unsafe = self.has(Defect::StopsUnsafely) || self.device.state().is_away;
        self.device.state().is_unsafe = is_left_unsafe;
        end
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        if self.has(Defect::SafeStateComesLate) && self.device.state().stage == Stage::Unknown {
            return Err(too_early("identified"));
        }
        self.is_closed &= self.has(Defect::StaysClosed);
        self.begin(Request::SafeState, deadline)?;
        self.device.state().is_unsafe = false;
        Ok(SafeState { read_back: vec!["outputs: 0000".to_owned()] })
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.begin(Request::Health, deadline)?;
        Ok(Health::Good)
    }

    fn close(&mut self) {
        self.device.state().requests.push(Request::Close);
        self.device.state().is_unsafe = false;
        self.is_closed = true;
    }
}
