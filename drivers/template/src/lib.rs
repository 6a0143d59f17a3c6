//! A driver to copy. It drives a box that does not exist: two lamps, and a detector of light beside each.
//!
//! | file | to change |
//! |---|---|
//! | `lib.rs` | what the device is asked, and what it answers |
//! | `sequence.rs` | how instructions become what the device does: the only place that knows both |
//! | `simulated.rs` | what stands in for the device where there is none |
//! | `tests/conformance.rs` | a program that the device can run, and some that it cannot |
//!
//! The box speaks lines: `who`, `dark`, `clear`, `lamp <0|1> <ms>`, `shot`, `light <0|1>`, `lamps`. What changes
//! something is answered by `ok`.

mod sequence;
mod simulated;

use std::time::Duration;

use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink, StopSupport,
};
use qspool_serial::{LinePort, PortSettings, SimulatedPort};

use sequence::{LAMPS, LARGEST, Sequence};
use simulated::LampBox;

/// The name of the port behind which the simulated device answers.
const SIMULATED: &str = "sim:";

/// The firmware that this driver was made for.
const FIRMWARE: &str = "1.";

/// How long making safe may take where nobody says.
const SAFE: Duration = Duration::from_secs(2);

/// Drives the box.
pub struct TemplateDriver {
    port: LinePort,
    simulated: Option<SimulatedPort>,
    is_known: bool,
    prepared: Option<Sequence>,
}

impl TemplateDriver {
    /// The box at a port such as `/dev/serial/by-id/…`, or the simulated one at `sim:`. It is not touched yet.
    ///
    /// # Errors
    ///
    /// Where no port can be made for the simulated one.
    pub fn new(port: &str) -> Result<Self, DriverError> {
        let simulated = if port == SIMULATED {
            let started = SimulatedPort::start(LampBox::default());
            let failed = |error| DriverError::new(ErrorClass::Configuration, format!("no simulated port: {error}"));
            Some(started.map_err(failed)?)
        } else {
            None
        };
        let path = simulated.as_ref().map_or_else(|| port.into(), |simulated| simulated.path().to_owned());
        Ok(Self { port: LinePort::new(PortSettings::new(path)), simulated, is_known: false, prepared: None })
    }

    /// Nothing is sent to a device that was not identified.
    fn check_known(&self) -> Result<(), DriverError> {
        if self.is_known && self.port.is_open() {
            Ok(())
        } else {
            Err(DriverError::new(ErrorClass::Device, "the lamp box was not identified since it was away"))
        }
    }

    /// Ends a run that was told to stop. Its own deadline: that of the run may be over.
    fn stop(&mut self) -> Result<RunEnd, DriverError> {
        self.safe_state(Deadline::after(SAFE)).map(|_| RunEnd::Stopped)
    }

    fn number(&mut self, question: &str, deadline: Deadline) -> Result<i64, DriverError> {
        let reply = self.port.ask(question, deadline)?;
        let garbled = || DriverError::new(ErrorClass::Retry, "the lamp box gave no number");
        reply.parse().map_err(|_| garbled().sent(question).answered(&reply))
    }
}

impl Driver for TemplateDriver {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        (self.is_known, self.prepared) = (false, None);
        self.port.open(deadline)?;
        // Whatever was sent to a port that was just plugged in may spoil the first answer.
        self.port.drain(deadline)?;
        let reply = self.port.ask("who", deadline)?;
        let Some(firmware) = reply.strip_prefix("lampbox ").filter(|firmware| firmware.starts_with(FIRMWARE)) else {
            let what = format!("this is no lamp box with firmware {FIRMWARE}x; look at the port in the configuration");
            return Err(DriverError::new(ErrorClass::Configuration, what).sent("who").answered(&reply));
        };
        self.is_known = true;
        Ok(Identity {
            model: "lampbox".into(),
            firmware: firmware.into(),
            is_simulated: self.simulated.is_some(),
            ..Identity::default()
        })
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        self.check_known()?;
        self.prepared = None;
        self.port.ask_for("clear", "ok", deadline)?;
        self.safe_state(deadline).map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: sequence::INSTRUCTIONS.map(ToOwned::to_owned).to_vec(),
            num_wires: LAMPS,
            max_shots: 10_000,
            largest_value: LARGEST,
            stop: StopSupport::Now,
            calibration: None,
        }
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let most = self.capabilities().max_shots;
        if program.shots > most {
            return Err(Problem::of_program(format!("{} shots not allowed; allowed: 1 to {most}", program.shots)));
        }
        Sequence::of(program).map(drop)
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.check_known()?;
        self.prepared = None;
        let refused = |problem: Problem| DriverError::new(ErrorClass::Job, problem.to_string());
        let sequence = Sequence::of(program).map_err(refused)?;
        self.port.ask_for("clear", "ok", deadline)?;
        for flash in &sequence.flashes {
            self.port.ask_for(&flash.line(), "ok", deadline)?;
        }
        let plan = sequence.plan();
        self.prepared = Some(sequence);
        Ok(plan)
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.check_known()?;
        let Some(sequence) = self.prepared.take() else {
            return Err(DriverError::new(ErrorClass::Job, "the lamp box has no program"));
        };
        let one = sequence.plan().per_shot;
        for _ in 0..sequence.shots {
            if control.is_stopped() {
                return self.stop();
            }
            self.port.ask_for("shot", "ok", control.deadline)?;
            if !control.sleep_until(Deadline::after(one)) {
                return self.stop();
            }
            let mut values = Vec::with_capacity(sequence.measured.len());
            for detector in &sequence.measured {
                values.push(self.number(&format!("light {detector}"), control.deadline)?);
            }
            shots.shot(&values);
        }
        Ok(RunEnd::Complete)
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        if !self.is_known || !self.port.is_open() {
            self.identify(deadline)?;
        }
        self.prepared = None;
        self.port.ask_for("dark", "ok", deadline)?;
        let lamps = self.port.ask("lamps", deadline)?;
        if lamps == "off off" {
            return Ok(SafeState { read_back: vec![format!("lamps: {lamps}")] });
        }
        let what = "the lamps of the lamp box are not off";
        Err(DriverError::new(ErrorClass::Device, what).sent("lamps").answered(lamps))
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.check_known()?;
        self.port.ask("who", deadline).map(|_| Health::Good)
    }

    fn close(&mut self) {
        if self.is_known && self.port.is_open() {
            // There is nobody left to tell if it fails: the device is away.
            drop(self.stop());
        }
        self.is_known = false;
        self.port.close();
    }
}
