//! The driver: the requests of the contract as messages to the program.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::message::{
    WireCapabilities, WireEnd, WireHealth, WireIdentity, WirePlan, WireProblem, WireRan, WireSafeState, WireShots,
    initialize, wire_program,
};
use crate::process::Process;
use crate::settings::ExecSettings;

/// How long the program may take to be ready for its first request.
const START: Duration = Duration::from_secs(30);

/// How long it may take to check a program.
const VALIDATE: Duration = Duration::from_secs(1);

/// How often a run looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// A driver that is a program of its own.
pub struct ExecDriver {
    settings: ExecSettings,
    capabilities: Capabilities,
    process: Mutex<Option<Process>>,
    /// The number of the run that was prepared, and how many shots it has.
    prepared: Option<(u64, u32)>,
    next_run: u64,
}

impl ExecDriver {
    /// Starts the program and asks what its device can do; the device itself is not touched.
    ///
    /// # Errors
    ///
    /// A program that cannot be started, or that speaks another protocol.
    pub fn new(settings: ExecSettings) -> Result<Self, DriverError> {
        let (process, capabilities) = start(&settings)?;
        let process = Mutex::new(Some(process));
        Ok(Self { settings, capabilities, process, prepared: None, next_run: 0 })
    }

    fn call<T: DeserializeOwned>(&self, method: &str, params: Value, deadline: Deadline) -> Result<T, DriverError> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = process.as_mut() else { return Err(self.device("it was let go")) };
        let answer = running.call(method, params, deadline)?;
        serde_json::from_value(answer)
            .map_err(|error| self.device(&format!("its answer to {method} is not one: {error}")))
    }

    /// What can be told without the program.
    fn check_capabilities(&self, program: &Program) -> Result<(), Problem> {
        let Capabilities { instructions, num_wires, max_shots, .. } = &self.capabilities;
        if program.shots > *max_shots {
            return Err(Problem::of_program(format!("{} shots not allowed; allowed: 1 to {max_shots}", program.shots)));
        }
        if program.num_wires > *num_wires {
            return Err(Problem::of_program(format!(
                "{} wires not allowed; allowed: 1 to {num_wires}",
                program.num_wires
            )));
        }
        match program.instructions.iter().enumerate().find(|(_, asked)| !instructions.contains(&asked.name)) {
            None => Ok(()),
            Some((index, asked)) => {
                let what = format!("unknown instruction; allowed: {}", instructions.join(", "));
                Err(Problem::of_instruction(index, asked.name.as_str(), what))
            }
        }
    }

    fn device(&self, what: &str) -> DriverError {
        DriverError::new(ErrorClass::Device, format!("{}: {what}", self.settings.name))
    }
}

/// Starts the program and gets to know it.
fn start(settings: &ExecSettings) -> Result<(Process, Capabilities), DriverError> {
    let mut process = Process::start(settings)?;
    let deadline = Deadline::after(START);
    let wrong = |error: serde_json::Error| {
        let what = format!("{}: its answer to initialize is not one: {error}", settings.name);
        DriverError::new(ErrorClass::Configuration, what)
    };
    let told = process.call("initialize", initialize(&settings.name, &settings.settings), deadline);
    let capabilities: WireCapabilities = serde_json::from_value(told?).map_err(wrong)?;
    Ok((process, capabilities.into()))
}

impl Driver for ExecDriver {
    /// Starts the program again where it has ended.
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        self.prepared = None;
        {
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            if !process.as_mut().is_some_and(Process::is_running) {
                let (started, capabilities) = start(&self.settings)?;
                *process = Some(started);
                self.capabilities = capabilities;
            }
        }
        // What the start has taken is not the device's fault.
        let deadline = if deadline.is_over() { Deadline::after(deadline.given()) } else { deadline };
        self.call::<WireIdentity>("driver/identify", Value::Null, deadline).map(Identity::from)
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        self.prepared = None;
        self.call("driver/configure", Value::Null, deadline)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        self.check_capabilities(program)?;
        {
            let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
            if !process.as_mut().is_some_and(Process::is_running) {
                *process = start(&self.settings).ok().map(|(process, _)| process);
            }
        }
        let params = json!({ "program": wire_program(program) });
        match self.call::<Option<WireProblem>>("driver/validate", params, Deadline::after(VALIDATE)) {
            Ok(None) => Ok(()),
            Ok(Some(problem)) => Err(problem.of(program)),
            Err(error) => {
                tracing::error!(driver = self.settings.name, %error, "a program could not be checked");
                Err(Problem::of_program("the driver cannot check it now; try again, or ask the operator"))
            }
        }
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.prepared = None;
        let run = self.next_run;
        self.next_run += 1;
        let params = json!({ "run": run, "program": wire_program(program) });
        let plan: WirePlan = self.call("driver/prepare", params, deadline)?;
        let plan = plan.read().ok_or_else(|| self.device("its plan has times that are none"))?;
        self.prepared = Some((run, program.shots));
        Ok(plan)
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        let Some((run, asked)) = self.prepared.take() else {
            return Err(self.device("no program was prepared").as_class(ErrorClass::Job));
        };
        if control.is_stopped() {
            return Ok(RunEnd::Stopped);
        }
        let name = self.settings.name.clone();
        let device = |what: String| DriverError::new(ErrorClass::Device, format!("{name}: {what}"));
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = process.as_mut() else { return Err(device("it was let go".into())) };
        let id = running.ask("driver/run", json!({ "run": run, "shots": asked }))?;
        let (mut count, mut stopping) = (0, None);
        loop {
            let stop = if control.now.is_raised() {
                Some("now")
            } else if control.after_shot.is_raised() {
                Some("after_shot")
            } else {
                None
            };
            if stop.is_some() && stop != stopping {
                running.tell("driver/abort", json!({ "run": run, "when": stop }))?;
                stopping = stop;
            }
            if control.deadline.is_over() {
                running.kill();
                let seconds = control.deadline.given().as_secs_f64();
                return Err(device(format!("{count} of {asked} shots within {seconds} s; the program was ended")));
            }
            let Some(message) = running.receive(LOOK.min(control.deadline.remaining()))? else { continue };
            if message.method.as_deref() == Some("shots") {
                let batch: WireShots = serde_json::from_value(message.params)
                    .map_err(|error| device(format!("its shots are none: {error}")))?;
                if batch.run != run {
                    continue;
                }
                if batch.first != count {
                    return Err(device(format!("it went on with shot {} after {count} shots", batch.first)));
                }
                for values in &batch.values {
                    shots.shot(values);
                    count += 1;
                }
            }
            if message.id == Some(id) {
                if let Some(error) = message.error {
                    return Err(error.into_driver_error(&name, "driver/run"));
                }
                let ran: WireRan = serde_json::from_value(message.result.unwrap_or(Value::Null))
                    .map_err(|error| device(format!("its answer to driver/run is not one: {error}")))?;
                return match ran.end {
                    _ if ran.shots != count => {
                        Err(device(format!("it counts {} shots and has handed over {count}", ran.shots)))
                    }
                    WireEnd::Complete if count != asked => {
                        Err(device(format!("{count} shots where {asked} were asked for")))
                    }
                    WireEnd::Complete => Ok(RunEnd::Complete),
                    WireEnd::Stopped => Ok(RunEnd::Stopped),
                };
            }
        }
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        let state: WireSafeState = self.call("driver/safe_state", Value::Null, deadline)?;
        Ok(SafeState { read_back: state.read_back })
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.call::<WireHealth>("driver/health", Value::Null, deadline).map(Health::from)
    }

    fn close(&mut self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut running) = process.take()
            && running.is_running()
        {
            let ended = running.call("driver/close", Value::Null, Deadline::after(Duration::from_secs(2)));
            if let Err(error) = ended {
                tracing::warn!(driver = self.settings.name, %error, "the program does not let its device go in order");
            }
            running.end();
        }
    }
}
