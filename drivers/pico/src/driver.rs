//! The driver of any board.

use std::time::Duration;

use qspool_driver::{
    Capabilities, Deadline, Driver, DriverError, ErrorClass, Health, Identity, Problem, Program, RunControl, RunEnd,
    RunPlan, SafeState, ShotSink,
};

use crate::{Board, Part, Pico};

/// What a shot may take beyond its time, for the commands around it.
const MARGIN: Duration = Duration::from_secs(2);

/// How long making safe may take where nobody says.
const SAFE: Duration = Duration::from_secs(2);

/// Runs programs on one board.
pub struct BoardDriver<B: Board> {
    part: Part<B>,
    is_set_up: bool,
    prepared: Option<(B::Table, u32)>,
}

impl<B: Board> BoardDriver<B> {
    /// A driver of this board.
    pub fn new(part: Part<B>) -> Self {
        Self { part, is_set_up: false, prepared: None }
    }

    /// The dialogue with it.
    pub fn pico(&mut self) -> &mut Pico {
        &mut self.part.pico
    }

    fn check_ready(&self) -> Result<(), DriverError> {
        if self.is_set_up && self.part.pico.is_known() {
            return Ok(());
        }
        Err(self.part.pico.fail(ErrorClass::Device, "was not identified and configured since it was away"))
    }

    /// Runs one shot; none when it was stopped in the middle.
    fn shot(&mut self, table: &B::Table, control: &RunControl) -> Result<Option<Vec<i64>>, DriverError> {
        let time = self.part.board.run_time(table);
        let limit = control.deadline.at_most(time.longest.saturating_add(MARGIN));
        let control = RunControl { deadline: limit, ..control.clone() };
        // The clock may have been lost since it was looked at last.
        self.part.state(limit)?;
        self.part.start(limit)?;
        if !control.sleep_until(Deadline::after(time.shortest)) || !self.part.wait_for_end(&control)? {
            return Ok(None);
        }
        self.part.board.values(&mut self.part.pico, table, limit).map(Some)
    }

    fn stop(&mut self) -> Result<RunEnd, DriverError> {
        self.safe_state(Deadline::after(SAFE)).map(|_| RunEnd::Stopped)
    }
}

impl<B: Board> Driver for BoardDriver<B> {
    fn identify(&mut self, deadline: Deadline) -> Result<Identity, DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        self.part.pico.identify(deadline)
    }

    fn configure(&mut self, deadline: Deadline) -> Result<(), DriverError> {
        (self.is_set_up, self.prepared) = (false, None);
        self.part.set_up(deadline)?;
        self.is_set_up = true;
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.part.board.capabilities()
    }

    fn validate(&self, program: &Program) -> Result<(), Problem> {
        let most = self.part.board.capabilities().max_shots;
        if program.shots > most {
            return Err(Problem::of_program(format!("{} shots not allowed; allowed: 1 to {most}", program.shots)));
        }
        self.part.board.compile(program).map(drop)
    }

    fn prepare(&mut self, program: &Program, deadline: Deadline) -> Result<RunPlan, DriverError> {
        self.prepared = None;
        if self.is_set_up && self.part.pico.is_doubtful() {
            self.identify(deadline)?;
            self.configure(deadline)?;
        }
        self.check_ready()?;
        let refused = |problem: Problem| DriverError::new(ErrorClass::Job, problem.to_string());
        let table = self.part.board.compile(program).map_err(refused)?;
        self.part.load(&table, deadline)?;
        let per_shot = self.part.board.run_time(&table).longest;
        self.prepared = Some((table, program.shots));
        Ok(RunPlan { per_shot, total: per_shot.saturating_mul(program.shots) })
    }

    fn run(&mut self, control: &RunControl, shots: &mut dyn ShotSink) -> Result<RunEnd, DriverError> {
        self.check_ready()?;
        let Some((table, count)) = self.prepared.take() else {
            return Err(self.part.pico.fail(ErrorClass::Job, "has no program"));
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
        self.part.make_safe(deadline)
    }

    fn health(&mut self, deadline: Deadline) -> Result<Health, DriverError> {
        self.check_ready()?;
        self.part.state(deadline).map(|_| Health::Good).map_err(DriverError::outside_of_run)
    }

    fn close(&mut self) {
        if self.part.pico.is_known() {
            // There is nobody left to tell if it fails: the board is away.
            drop(self.stop());
        }
        self.is_set_up = false;
        self.part.pico.close();
    }
}
