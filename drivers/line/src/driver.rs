//! The driver.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink, StopSupport,
};
use qspool_serial::{Dialogue, LinePort, PortSettings, SimulatedPort};

use crate::check::version;
use crate::dialogue::Speaker;
use crate::expression::Scope;
use crate::file::{EndOfShot, LineFile};
use crate::program::compile;
use crate::steps::{Progress, Verdict};

/// The name of the port behind which the file's own simulation answers.
const SIMULATED: &str = "sim:";

/// How often a device is asked who it is: what was sent to it at plug-in may spoil its first answers.
const ATTEMPTS: u32 = 4;

/// A run looks at its control at least this often.
const GLANCE: Duration = Duration::from_millis(50);

/// What a stop may take, besides the pauses that its steps ask for.
const STOP: Duration = Duration::from_secs(5);

/// Runs programs on a device that is described by a [`LineFile`].
///
/// What a device is asked and how it answers stands in the file. In addition, each request drains what nobody asked for,
/// a device that answers nonsense is asked again who it is, and an unexpected answer ends a request: in a run the
/// job may be tried again, in `configure` and `safe_state` the device counts as away. After an error in a run the device
/// may have restarted: before the next program it is configured anew.
pub struct LineDriver {
    file: Arc<LineFile>,
    port: LinePort,
    simulated: Option<SimulatedPort>,
    is_known: bool,
    is_configured: bool,
    is_doubtful: bool,
    prepared: Option<Prepared>,
}

#[derive(Debug, Clone)]
struct Prepared {
    shots: u32,
    rows: u32,
    expected_s: f64,
    timeout: Duration,
    measured: Vec<u32>,
}

impl Prepared {
    fn scope<'a>(&self, file: &'a LineFile, shot: u32) -> Scope<'a> {
        let scope = Scope::new(&file.constants).with("shot", f64::from(shot)).with("shots", f64::from(self.shots));
        scope.with("rows", f64::from(self.rows)).with("expected_s", self.expected_s)
    }
}

impl fmt::Debug for LineDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("LineDriver");
        shown.field("file", &self.file.path).field("port", &self.port).finish_non_exhaustive()
    }
}

impl LineDriver {
    /// A driver for the device at `port`, which is a path or `sim:`; the port is not opened yet.
    ///
    /// # Errors
    ///
    /// Of the class `Configuration` for `sim:` when the file has no `[simulate]`.
    pub fn new(file: LineFile, port: &str) -> Result<Self, DriverError> {
        let is_simulated = port == SIMULATED;
        let mut settings = PortSettings { path: PathBuf::from(port), ..file.port.clone() };
        let mut simulated = None;
        if is_simulated {
            let fail =
                |what: String| DriverError::new(ErrorClass::Configuration, format!("{}: {what}", file.path.display()));
            let device = file.simulation();
            let device =
                device.ok_or_else(|| fail("has no [simulate], so that `sim:` cannot be its port".to_owned()))?;
            let started = SimulatedPort::start(device);
            let started = started.map_err(|error| fail(format!("cannot be simulated, no pseudo-terminal: {error}")))?;
            started.path().clone_into(&mut settings.path);
            settings.settle = Duration::ZERO;
            simulated = Some(started);
        }
        Ok(Self {
            file: Arc::new(file),
            port: LinePort::new(settings),
            simulated,
            is_known: false,
            is_configured: false,
            is_doubtful: false,
            prepared: None,
        })
    }

    /// Shows every line that is sent or comes back to `listener`.
    pub fn listen(&mut self, listener: impl FnMut(Dialogue<'_>) + Send + 'static) {
        self.port.listen(listener);
    }

    /// The file that describes the device.
    pub fn file(&self) -> &LineFile {
        &self.file
    }

    /// Does something with the device. Whatever it knew is void when that ends with a closed port, or when it said
    /// meanwhile that it has restarted.
    fn speak<T>(&mut self, request: impl FnOnce(&mut Speaker<'_>) -> Result<T, DriverError>) -> Result<T, DriverError> {
        let file = Arc::clone(&self.file);
        let mut speaker = Speaker { file: &file, port: &mut self.port };
        let mut done = request(&mut speaker);
        let dropped = speaker.port.take_dropped();
        let is_alarm = |line: &&str| file.alarm.as_ref().is_some_and(|alarm| alarm.matches(line.trim()));
        let alarm = dropped.split(['\r', '\n']).find(is_alarm);
        if let (true, Some(line)) = (self.is_known, alarm) {
            let what = "it has lost what it was told (port.alarm); it is identified and configured anew";
            done = Err(speaker.fail(ErrorClass::Device, what).answered(line));
            self.port.close();
        }
        if !self.port.is_open() {
            self.forget();
        }
        self.is_doubtful |= done.is_err();
        done
    }

    fn forget(&mut self) {
        (self.is_known, self.is_configured, self.prepared) = (false, false, None);
    }

    fn early(&self, what: &str) -> DriverError {
        let what = format!("{} at {}: it has to be {what} first", self.file.name, self.port.settings().path.display());
        DriverError::new(ErrorClass::Device, what)
    }

    fn make_safe(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        self.speak(|speaker| {
            let file = speaker.file;
            if let Some(stop) = &file.stop {
                speaker.steps(stop, deadline)?;
            }
            Ok(SafeState { read_back: speaker.steps(&file.safe, deadline)? })
        })
        .map_err(DriverError::outside_of_run)
    }

    /// Ends a run that was told to stop. Its own deadline: that of the run may be over.
    fn stop(&mut self) -> Result<RunEnd, DriverError> {
        let steps = self.file.stop.iter().flatten().chain(&self.file.safe);
        let pauses: Duration = steps.map(|step| step.wait).sum();
        self.make_safe(Deadline::after(STOP + pauses)).map(|_| RunEnd::Stopped)
    }

    /// Runs one shot; none when it was stopped in the middle.
    fn shot(&mut self, prepared: &Prepared, shot: u32, control: &RunControl) -> Result<Option<Vec<i64>>, DriverError> {
        let can_stop = self.file.stop.is_some();
        let deadline = control.deadline.at_most(prepared.timeout);
        self.speak(|speaker| {
            let file = speaker.file;
            speaker.steps_with(&file.shot.start, || prepared.scope(file, shot), deadline)?;
            let is_stopped = || can_stop && control.now.is_raised();
            if !wait_for_end(speaker, prepared, shot, deadline, is_stopped)? {
                return Ok(None);
            }
            speaker.values(&prepared.measured, (shot, prepared.shots), deadline).map(Some)
        })
    }
}

/// Waits until the device says that the shot is over; `false` when it was stopped before.
fn wait_for_end(
    speaker: &mut Speaker<'_>,
    prepared: &Prepared,
    shot: u32,
    deadline: Deadline,
    is_stopped: impl Fn() -> bool,
) -> Result<bool, DriverError> {
    let file = speaker.file;
    if let EndOfShot::Poll { after, .. } = &file.shot.end {
        rest(deadline.at_most(*after), &is_stopped);
    }
    let mut last = String::new();
    loop {
        if is_stopped() {
            return Ok(false);
        }
        if deadline.is_over() {
            speaker.port.lose_place();
            let what = format!("shot {shot} did not end within {:?}", deadline.given());
            return Err(speaker.fail(ErrorClass::Device, &what).answered(last));
        }
        let (progress, reply) = match &file.shot.end {
            EndOfShot::Poll { send, every, progress, .. } => {
                let line = send.line(&prepared.scope(file, shot));
                let line =
                    line.map_err(|what| speaker.fail(ErrorClass::Configuration, &format!("shot.poll.send: {what}")))?;
                let reply = speaker.port.ask(&line, deadline.at_most(file.timeout))?;
                if progress.verdict(&reply) == Verdict::Running {
                    rest(deadline.at_most(*every), &is_stopped);
                }
                (progress, Some(reply))
            }
            EndOfShot::Wait { progress } => {
                (progress, speaker.port.read_line_within(GLANCE.min(deadline.remaining()))?)
            }
        };
        let Some(reply) = reply else { continue };
        match progress.verdict(&reply) {
            Verdict::Done => return Ok(true),
            Verdict::Running => last = reply,
            verdict @ (Verdict::Failed | Verdict::Unknown) => {
                return Err(bad_end(speaker, progress, shot, verdict, &reply));
            }
        }
    }
}

fn bad_end(speaker: &mut Speaker<'_>, progress: &Progress, shot: u32, verdict: Verdict, reply: &str) -> DriverError {
    speaker.port.lose_place();
    let what = if verdict == Verdict::Failed {
        format!("shot {shot} failed")
    } else {
        format!("unexpected word on shot {shot}; at its end {:?} is expected", progress.done.text())
    };
    speaker.fail(ErrorClass::Retry, &what).answered(reply)
}

/// Sleeps until then, unless the run is stopped.
fn rest(until: Deadline, is_stopped: &impl Fn() -> bool) {
    while !until.is_over() && !is_stopped() {
        thread::sleep(until.remaining().min(GLANCE));
    }
}

fn who(speaker: &mut Speaker<'_>, is_simulated: bool, deadline: Deadline) -> Result<Identity, DriverError> {
    let file = speaker.file;
    let identify = &file.identify;
    let mut last = None;
    let mut attempt = 1;
    let reply = loop {
        let asked = speaker.ask("identify", &identify.send, &identify.expect, deadline.at_most(file.timeout));
        let error = match asked {
            Ok(reply) => break reply,
            Err(error) => error,
        };
        // A stranger says the same each time, garbage does not.
        if error.class() == ErrorClass::Retry && last.as_ref() == Some(&error) {
            return Err(error.as_class(ErrorClass::Configuration));
        }
        if !speaker.port.is_open() || attempt == ATTEMPTS || deadline.is_over() {
            return Err(error.outside_of_run());
        }
        last = Some(error);
        attempt += 1;
    };
    let groups = identify.expect.groups(&reply);
    let group = |name: &str| groups.as_ref().and_then(|groups| groups.name(name)).map(|found| found.as_str().trim());
    let firmware = group("firmware").unwrap_or_default();
    let numbers = version(firmware).map(|(numbers, _)| numbers).unwrap_or_default();
    let is_old = identify.firmware_min.as_ref().is_some_and(|min| numbers < *min);
    // An upper limit of 1 takes every 1.x.
    let is_new = identify.firmware_max.as_ref().is_some_and(|max| numbers.iter().take(max.len()).gt(max));
    if is_old || is_new {
        let what = format!("its firmware is {firmware}; this driver was made for firmware {}", identify.firmware);
        return Err(speaker.fail(ErrorClass::Configuration, &what).sent(&identify.send).answered(&reply));
    }
    Ok(Identity {
        vendor: group("vendor").unwrap_or(&file.vendor).to_owned(),
        model: group("model").unwrap_or(&file.model).to_owned(),
        serial: group("serial").unwrap_or_default().to_owned(),
        firmware: firmware.to_owned(),
        is_simulated,
    })
}

impl Driver for LineDriver {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        self.port.open(deadline)?;
        // What it says before it was asked belongs to the time before, a word on its start among it.
        self.forget();
        let is_simulated = self.simulated.is_some();
        let identity = self.speak(|speaker| who(speaker, is_simulated, deadline));
        match &identity {
            Ok(_) => self.is_known = true,
            // Not ours, or not there: another one may want the port, or get its name.
            Err(_) => self.port.close(),
        }
        identity
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        if !self.is_known {
            return Err(self.early("identified"));
        }
        (self.is_configured, self.prepared) = (false, None);
        // What it complains of now belongs to the time before.
        self.speak(|speaker| speaker.read_errors(deadline)).map_err(DriverError::outside_of_run)?;
        self.make_safe(deadline)?;
        self.speak(|speaker| {
            let file = speaker.file;
            speaker.steps(&file.init, deadline)?;
            speaker.check_errors("init", deadline)
        })
        .map_err(DriverError::outside_of_run)?;
        self.make_safe(deadline)?;
        (self.is_configured, self.is_doubtful) = (true, false);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            instructions: self.file.gates.iter().map(|gate| gate.name.clone()).collect(),
            num_wires: self.file.num_wires,
            max_shots: self.file.max_shots,
            largest_value: self.file.result.max,
            stop: if self.file.stop.is_some() { StopSupport::Now } else { StopSupport::AfterShot },
            calibration: self.file.calibration.clone(),
        }
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        compile(&self.file, program).map(|_| ())
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.prepared = None;
        if !self.is_configured {
            return Err(self.early("identified and configured"));
        }
        if self.is_doubtful {
            self.identify(deadline)?;
            self.configure(deadline)?;
        }
        let file = Arc::clone(&self.file);
        let refuse = |what: String| DriverError::new(ErrorClass::Job, what);
        let compiled = compile(&file, program).map_err(|problem| refuse(problem.to_string()))?;
        let scope = Scope::new(&file.constants).with("expected_s", compiled.expected_s);
        let timeout = file.shot.timeout.value(&scope.with("rows", f64::from(compiled.rows))).map_err(refuse)?;
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or(STOP);
        self.speak(|speaker| {
            for (step, line) in &compiled.lines {
                speaker.step(step, line, deadline)?;
            }
            speaker.check_errors("the program was loaded", deadline)
        })?;
        let asked = match &file.shot.end {
            EndOfShot::Poll { every, after, .. } => *every + *after,
            EndOfShot::Wait { .. } => Duration::ZERO,
        };
        let per_shot = Duration::try_from_secs_f64(compiled.expected_s).unwrap_or_default() + asked;
        self.prepared = Some(Prepared {
            shots: program.shots,
            rows: compiled.rows,
            expected_s: compiled.expected_s,
            timeout,
            measured: compiled.measured,
        });
        Ok(RunPlan { per_shot, total: per_shot.saturating_mul(program.shots) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        let prepared = self.prepared.clone().ok_or_else(|| self.early("given a program"))?;
        for shot in 0..prepared.shots {
            if control.is_stopped() {
                return self.stop();
            }
            match self.shot(&prepared, shot, control)? {
                Some(values) => shots.shot(&values),
                None => return self.stop(),
            }
        }
        Ok(RunEnd::Complete)
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        // A stranger is told nothing.
        if !self.is_known {
            self.identify(deadline)?;
        }
        self.make_safe(deadline)
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        if !self.is_known {
            return Err(self.early("identified"));
        }
        self.speak(|speaker| {
            let file = speaker.file;
            let Some(health) = &file.health else {
                let identify = &file.identify;
                speaker.ask("identify", &identify.send, &identify.expect, deadline.at_most(file.timeout))?;
                return Ok(Health::Good);
            };
            let reply = speaker.ask("health", &health.send, &health.expect, deadline.at_most(file.timeout))?;
            Ok(if health.good.matches(&reply) { Health::Good } else { Health::Degraded(format!("it says {reply:?}")) })
        })
        .map_err(DriverError::outside_of_run)
    }

    fn close(&mut self) {
        if self.is_known {
            // As far as it can: the port is closed whatever comes of it.
            drop(self.stop());
        }
        self.port.close();
        self.forget();
    }
}
