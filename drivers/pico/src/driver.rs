//! The driver of any board.

use std::thread;
use std::time::Duration;

use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink,
};

use crate::{Board, Pico, RunState};

/// How long a run sleeps at most before it looks whether it is to stop.
const GLANCE: Duration = Duration::from_millis(20);

/// What a shot may take beyond its time, for the commands around it.
const MARGIN: Duration = Duration::from_secs(2);

/// How long making safe may take where nobody says.
const SAFE: Duration = Duration::from_secs(2);

/// Runs programs on one board.
pub struct BoardDriver<B: Board> {
    board: B,
    pico: Pico,
    is_set_up: bool,
    prepared: Option<(B::Table, u32)>,
}

impl<B: Board> BoardDriver<B> {
    /// A driver of this board, which is not touched yet.
    pub fn new(board: B, pico: Pico) -> Self {
        Self { board, pico, is_set_up: false, prepared: None }
    }

    /// The dialogue with it.
    pub fn pico(&mut self) -> &mut Pico {
        &mut self.pico
    }

    fn check_ready(&self) -> Result<(), DriverError> {
        if self.is_set_up && self.pico.is_known() {
            return Ok(());
        }
        Err(self.pico.fail(ErrorClass::Device, "was not identified and configured since it was away"))
    }

    /// Runs one shot; none when it was stopped in the middle.
    fn shot(&mut self, table: &B::Table, control: &RunControl) -> Result<Option<Vec<i64>>, DriverError> {
        let time = self.board.run_time(table);
        let (expected, limit) =
            (Deadline::after(time.shortest), control.deadline.at_most(time.longest.saturating_add(MARGIN)));
        // The clock may have been lost since it was looked at last.
        self.board.state(&mut self.pico, limit)?;
        self.board.start(&mut self.pico, limit)?;
        // A state that is seen before may be that of the run before.
        while !expected.is_over() {
            if control.now.is_raised() {
                return Ok(None);
            }
            thread::sleep(expected.remaining().min(GLANCE));
            if limit.is_over() {
                break;
            }
        }
        loop {
            match self.board.state(&mut self.pico, limit)? {
                RunState::Stopped => break,
                RunState::Aborted => return Err(self.pico.fail(ErrorClass::Retry, "aborted its run by itself")),
                _ if control.now.is_raised() => return Ok(None),
                _ if limit.is_over() => {
                    let what = format!("did not end its run within {:?}; check its trigger", limit.given());
                    return Err(self.pico.fail(ErrorClass::Device, &what));
                }
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
        self.board.values(&mut self.pico, table, limit).map(Some)
    }

    fn stop(&mut self) -> Result<RunEnd, DriverError> {
        self.safe_state(Deadline::after(SAFE)).map(|_| RunEnd::Stopped)
    }
}

impl<B: Board> Driver for BoardDriver<B> {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        self.pico.identify(deadline)
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        self.board.make_safe(&mut self.pico, deadline).map_err(as_device)?;
        self.board.set_up(&mut self.pico, deadline).map_err(as_device)?;
        self.board.make_safe(&mut self.pico, deadline).map_err(as_device)?;
        self.is_set_up = true;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.board.capabilities()
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let most = self.board.capabilities().max_shots;
        if program.shots > most {
            return Err(Problem::of_program(format!("{} shots not allowed; allowed: 1 to {most}", program.shots)));
        }
        self.board.compile(program).map(drop)
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.prepared = None;
        if self.is_set_up && self.pico.is_doubtful() {
            self.identify(deadline)?;
            self.configure(deadline)?;
        }
        self.check_ready()?;
        let refused = |problem: Problem| DriverError::new(ErrorClass::Job, problem.to_string());
        let table = self.board.compile(program).map_err(refused)?;
        self.board.load(&mut self.pico, &table, deadline)?;
        let per_shot = self.board.run_time(&table).longest;
        self.prepared = Some((table, program.shots));
        Ok(RunPlan { per_shot, total: per_shot.saturating_mul(program.shots) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.check_ready()?;
        let Some((table, count)) = self.prepared.take() else {
            return Err(self.pico.fail(ErrorClass::Job, "has no program"));
        };
        for _ in 0..count {
            if control.is_stopped() {
                return self.stop();
            }
            match self.shot(&table, control)? {
                Some(values) => shots.shot(&values),
                None => return self.stop(),
            }
        }
        Ok(RunEnd::Complete)
    }

    fn safe_state(&mut self, deadline: Deadline) -> Result<SafeState, DriverError> {
        self.prepared = None;
        if !self.pico.is_known() {
            self.identify(deadline)?;
        }
        self.board.make_safe(&mut self.pico, deadline).map_err(as_device)
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.check_ready()?;
        self.board.state(&mut self.pico, deadline).map(|_| Health::Good).map_err(as_device)
    }

    fn close(&mut self) {
        if self.pico.is_known() {
            // There is nobody left to tell if it fails: the board is away.
            drop(self.stop());
        }
        self.is_set_up = false;
        self.pico.close();
    }
}

/// Outside of a run there is no job to try again.
fn as_device(error: DriverError) -> DriverError {
    if error.class() == ErrorClass::Retry { error.as_class(ErrorClass::Device) } else { error }
}
