//! The thread that owns a driver: finds the device, runs programs on it, and finds it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use qspool_driver::{
    Deadline, Driver, DriverError, ErrorClass, Health, Identity, Outcome, Program, RunControl, RunEnd,
};

use super::availability::Availability;
use super::handle::{DeviceError, MakeDriver, Ran, Request, Shared, StopRun};
use super::shots::Shots;

const IDENTIFY: Duration = Duration::from_secs(5);
const CONFIGURE: Duration = Duration::from_secs(30);
const PREPARE: Duration = Duration::from_secs(60);
const SAFE_STATE: Duration = Duration::from_secs(2);
const HEALTH: Duration = Duration::from_secs(2);
const CLOSE: Duration = Duration::from_secs(5);

/// What a run may take beyond twice the time that it was planned for.
const RUN_MARGIN: Duration = Duration::from_secs(10);

/// How much later than its deadline a request may come back before the driver is given up.
const LATENESS: Duration = Duration::from_secs(5);

/// How often the device is asked how it is, between programs.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// How soon a device that is away is looked for again: doubled each time.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(60);

/// How often a program is tried again after an error that may pass.
const RETRIES: u32 = 2;

/// The owner of a driver.
pub(super) struct Host {
    name: String,
    make: MakeDriver,
    /// None after a panic, until another one could be made.
    driver: Option<Box<dyn Driver>>,
    shared: Shared,
    requests: Receiver<Request>,
}

/// Why the thread ends.
struct Closed;

impl Host {
    pub(super) fn new(name: String, make: MakeDriver, shared: Shared, requests: Receiver<Request>) -> Self {
        Self { name, make, driver: None, shared, requests }
    }

    /// Serves until it is closed.
    pub(super) fn serve(mut self) {
        let span = tracing::info_span!("device", device = self.name);
        let _entered = span.enter();
        let mut pause = FIRST_LOOK;
        loop {
            let error = match self.bring_up() {
                Ok(identity) => {
                    pause = FIRST_LOOK;
                    tracing::info!(
                        model = identity.model,
                        serial = identity.serial,
                        firmware = identity.firmware,
                        simulated = identity.is_simulated,
                        "the device is ready"
                    );
                    match self.work(&identity) {
                        Ok(error) => error,
                        Err(Closed) => break,
                    }
                }
                Err(error) => error,
            };
            self.away(&error);
            if self.wait(pause).is_err() {
                break;
            }
            pause = (pause * 2).min(LAST_LOOK);
        }
        self.close();
    }

    /// Finds the device and programs it.
    fn bring_up(&mut self) -> Result<Identity, DriverError> {
        let identity = self.ask("identify", IDENTIFY, |driver, deadline| driver.identify(deadline))?;
        self.ask("configure", CONFIGURE, |driver, deadline| driver.configure(deadline))?;
        Ok(identity)
    }

    /// Runs programs until the device fails, with which error, or until it is closed.
    fn work(&mut self, identity: &Identity) -> Result<DriverError, Closed> {
        let mut note = None;
        self.tell(Availability::Ready { identity: identity.clone(), note: None });
        loop {
            match self.requests.recv_timeout(HEALTH_INTERVAL) {
                Ok(Request::Run { program, stop, reply }) => {
                    let (outcome, error) = self.run(&program, &stop);
                    // First, so that nobody comes with the next program.
                    if let Some(error) = &error {
                        self.away(error);
                    }
                    // Whoever has asked may have given up.
                    let _heard = reply.send(outcome.map(|outcome| Ran { outcome, identity: identity.clone() }));
                    if let Some(error) = error {
                        return Ok(error);
                    }
                }
                Ok(Request::Close) | Err(RecvTimeoutError::Disconnected) => return Err(Closed),
                Err(RecvTimeoutError::Timeout) => {
                    let found = match self.ask("health", HEALTH, |driver, deadline| driver.health(deadline)) {
                        Ok(Health::Good) => None,
                        Ok(Health::Degraded(why)) => Some(why),
                        Err(error) => return Ok(error),
                    };
                    if found != note {
                        match &found {
                            Some(why) => tracing::warn!(why, "the device is not as it should be"),
                            None => tracing::info!("the device is as it should be again"),
                        }
                        note.clone_from(&found);
                        self.tell(Availability::Ready { identity: identity.clone(), note: found });
                    }
                }
            }
        }
    }

    /// Runs one program; the second value says that the device cannot be used any more.
    fn run(&mut self, program: &Program, stop: &StopRun) -> (Result<Outcome, DeviceError>, Option<DriverError>) {
        let mut retries = RETRIES;
        loop {
            let error = match self.attempt(program, stop) {
                Ok(Some(outcome)) => return (Ok(outcome), None),
                Ok(None) => {
                    let unsafe_device = self.make_safe().err();
                    return (Err(DeviceError::Stopped), unsafe_device);
                }
                Err(error) => error,
            };
            if let Err(unsafe_device) = self.make_safe() {
                return (Err(DeviceError::Away(error.to_string())), Some(unsafe_device));
            }
            match error.class() {
                ErrorClass::Job => return (Err(DeviceError::Program(error.to_string())), None),
                ErrorClass::Retry if retries > 0 => {
                    retries -= 1;
                    tracing::warn!(%error, "the program is tried again");
                }
                ErrorClass::Retry => {
                    tracing::error!(%error, "the program failed again and again; its job ends");
                    let what = format!(
                        "the device could not run this in {} attempts; its operator finds the reason in the log",
                        RETRIES + 1
                    );
                    return (Err(DeviceError::Program(what)), None);
                }
                ErrorClass::Device | ErrorClass::Configuration => {
                    return (Err(DeviceError::Away(error.to_string())), Some(error));
                }
            }
        }
    }

    /// Runs one program once; none if it was told to stop.
    fn attempt(&mut self, program: &Program, stop: &StopRun) -> Result<Option<Outcome>, DriverError> {
        let largest = self.driver()?.capabilities().largest_value;
        let plan = self.ask("prepare", PREPARE, |driver, deadline| driver.prepare(program, deadline))?;
        if stop.now.is_raised() || stop.after_shot.is_raised() {
            return Ok(None);
        }
        let mut shots = Shots::of(program, largest);
        let longest = plan.total.saturating_mul(2).saturating_add(RUN_MARGIN);
        let end = self.ask("run", longest, |driver, deadline| {
            let control = RunControl { now: stop.now.clone(), after_shot: stop.after_shot.clone(), deadline };
            driver.run(&control, &mut shots)
        })?;
        let is_told = stop.now.is_raised() || stop.after_shot.is_raised();
        match end {
            // Whatever it has handed over by then is not asked for any more.
            RunEnd::Stopped if is_told => Ok(None),
            // One that stops by itself has given too few shots.
            RunEnd::Stopped | RunEnd::Complete => shots.finish().map(Some),
        }
    }

    fn make_safe(&mut self) -> Result<(), DriverError> {
        match self.ask("safe_state", SAFE_STATE, |driver, deadline| driver.safe_state(deadline)) {
            Ok(state) => {
                tracing::info!(read_back = state.read_back.join("; "), "the device is safe");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the device could not be made safe; its outputs may be on");
                Err(error)
            }
        }
    }

    fn driver(&mut self) -> Result<&mut Box<dyn Driver>, DriverError> {
        let driver = match self.driver.take() {
            Some(driver) => driver,
            None => (self.make)()?,
        };
        Ok(self.driver.insert(driver))
    }

    /// Asks the driver for something, and survives whatever it does.
    fn ask<T>(
        &mut self,
        what: &'static str,
        time: Duration,
        request: impl FnOnce(&mut dyn Driver, Deadline) -> Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        let overdue = self.shared.overdue.clone();
        let set = |end| *overdue.lock().unwrap_or_else(PoisonError::into_inner) = end;
        let driver = self.driver()?;
        set(Some((Instant::now() + time + LATENESS, what)));
        let answer = catch_unwind(AssertUnwindSafe(|| request(&mut **driver, Deadline::after(time))));
        set(None);
        answer.unwrap_or_else(|_panic| {
            // What it holds may be broken; dropping it may panic again, and is not worth a thread.
            let broken = self.driver.take();
            let _dropped = catch_unwind(AssertUnwindSafe(|| drop(broken)));
            let name = &self.name;
            let what =
                format!("the driver of {name} panicked at {what}: a defect of the driver; the device is started anew");
            Err(DriverError::new(ErrorClass::Device, what))
        })
    }

    fn tell(&self, availability: Availability) {
        self.shared.availability.send_replace(availability);
    }

    fn away(&self, error: &DriverError) {
        let why = error.to_string();
        let availability = Availability::Away { why };
        if *self.shared.availability.borrow() != availability {
            match error.class() {
                ErrorClass::Configuration => {
                    tracing::error!(%error, "the device cannot be used until a person mends it");
                }
                _ => tracing::error!(%error, "the device is away; its jobs wait"),
            }
        }
        self.tell(availability);
    }

    /// Waits before the next look; whoever asks for a run meanwhile is told that the device is away.
    fn wait(&self, pause: Duration) -> Result<(), Closed> {
        let end = Instant::now() + pause;
        loop {
            match self.requests.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Request::Run { reply, .. }) => {
                    let why = self.shared.availability.borrow().note().unwrap_or_default();
                    let _heard = reply.send(Err(DeviceError::Away(why)));
                }
                Ok(Request::Close) | Err(RecvTimeoutError::Disconnected) => return Err(Closed),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
            }
        }
    }

    fn close(&mut self) {
        if self.driver.is_none() {
            return;
        }
        let closed = self.ask("close", CLOSE, |driver, _| {
            driver.close();
            Ok(())
        });
        match closed {
            Ok(()) => tracing::info!("the device is let go"),
            Err(error) => tracing::error!(%error, "the device was not let go in order; its outputs may be on"),
        }
    }
}
