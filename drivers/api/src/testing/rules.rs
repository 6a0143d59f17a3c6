//! The rules of the contract, one function each.

use std::thread;
use std::time::Duration;

use super::conformance::{Bench, Conformance, failed, within};
use crate::{Deadline, DriverError, ErrorClass, RunControl, RunEnd, StopSupport};

/// Tries one rule on a fresh bench; says what is broken.
pub(super) type Rule = fn(&Conformance<'_>, &mut Bench) -> Result<(), String>;

pub(super) const ALL: [(&str, Rule); 14] = [
    ("the safe state may come first, and again", safe_state_first),
    ("identify says the same each time", same_identity),
    ("limits are known without the device", limits_without_device),
    ("a problem names its instruction", problems),
    ("a run that was not prepared is an error", unprepared),
    ("exactly the shots that were asked for come, each whole", shots),
    ("the program that was prepared last is run", last_program),
    ("a run stops after its shot", stop_after_shot),
    ("a run stops at once", stop_now),
    ("a run that is to stop before it begins does not begin", stop_before),
    ("a driver that was closed can be used again", reopened),
    ("a device that is away is an error of the class Device, and is welcome back", away_and_back),
    ("a plug pulled in the middle of a run is an error, and all is well when it is back", pulled_in_run),
    ("no request takes longer than its deadline", deadlines),
];

fn safe_state_first(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    for _ in 0..2 {
        let safe = within("safe_state", suite.patience, || bench.driver.safe_state(suite.deadline()))?;
        safe.map_err(|error| failed("safe_state", &error))?;
        is_safe(bench, "safe_state")?;
    }
    suite.ready(bench)?;
    is_safe(bench, "configure")?;
    bench.driver.safe_state(suite.deadline()).map_err(|error| failed("safe_state", &error))?;
    suite.run_well(bench, 1)
}

fn same_identity(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    let mut ask = || bench.driver.identify(suite.deadline()).map_err(|error| failed("identify", &error));
    let (first, second) = (ask()?, ask()?);
    if first != second {
        return Err(format!("first {first:?}, then {second:?}"));
    }
    if first.model.is_empty() {
        return Err("it does not say what it is: `model` is empty".to_owned());
    }
    bench.driver.configure(suite.deadline()).map_err(|error| failed("configure", &error))?;
    bench.driver.health(suite.deadline()).map_err(|error| failed("health", &error)).map(|_| ())
}

fn limits_without_device(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    bench.device.unplug();
    let limits = bench.driver.capabilities();
    if limits.num_wires == 0 || limits.max_shots == 0 || limits.largest_value < 0 {
        return Err(format!("nothing can be run with these: {limits:?}"));
    }
    if let Some(missing) = suite.good.instructions.iter().find(|one| !limits.instructions.contains(&one.name)) {
        return Err(format!("`capabilities` has no {:?}, which the good program uses", missing.name));
    }
    bench.driver.validate(&suite.program(1)).map_err(|problem| format!("the good program is refused: {problem}"))?;
    bench.device.replug();
    suite.ready(bench)?;
    let later = bench.driver.capabilities();
    if later == limits { Ok(()) } else { Err(format!("first {limits:?}, when configured {later:?}")) }
}

fn problems(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    let too_many = bench.driver.capabilities().max_shots.checked_add(1).map(|shots| (suite.program(shots), None));
    for (program, blamed) in suite.bad.iter().chain(&too_many) {
        let Err(problem) = bench.driver.validate(program) else {
            return Err(format!("a bad program is accepted: {program:?}"));
        };
        let expected = blamed.map(|index| (index, program.instructions[index].name.clone()));
        if problem.instruction != expected {
            return Err(format!("{:?} is blamed in place of {expected:?}: {problem}", problem.instruction));
        }
        if problem.what.is_empty() || problem.what.contains('\n') {
            return Err(format!("the text is not one line: {:?}", problem.what));
        }
    }
    Ok(())
}

fn unprepared(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    struct Nothing(usize);
    impl crate::ShotSink for Nothing {
        fn shot(&mut self, _: &[i64]) {
            self.0 += 1;
        }
    }
    let mut count = Nothing(0);
    for configured in [false, true] {
        if configured {
            suite.ready(bench)?;
        }
        if let Ok(end) = bench.driver.run(&RunControl::until(suite.deadline()), &mut count) {
            return Err(format!("it ended as {end:?}"));
        }
    }
    if count.0 > 0 {
        return Err(format!("{} shots came", count.0));
    }
    suite.ready(bench)?;
    suite.run_well(bench, 1)
}

fn shots(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    suite.ready(bench)?;
    [1, 2, suite.many].into_iter().try_for_each(|shots| suite.run_well(bench, shots))
}

fn last_program(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    suite.ready(bench)?;
    let first = bench.driver.prepare(&suite.program(3), suite.deadline());
    let plan = first.map_err(|error| failed("prepare", &error))?;
    if plan.total < plan.per_shot {
        return Err(format!("all shots take less than one: {plan:?}"));
    }
    suite.run_well(bench, 2)
}

fn stop_after_shot(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    stop_after_second(suite, bench, |control| control.after_shot.raise())
}

fn stop_now(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    stop_after_second(suite, bench, |control| control.now.raise())?;
    let Some(long) = &suite.long else { return Ok(()) };
    if bench.driver.capabilities().stop != StopSupport::Now {
        return Ok(());
    }
    suite.ready(bench)?;
    let program = crate::Program { shots: 2, ..long.clone() };
    let control = RunControl::until(suite.deadline());
    let stop = control.now.clone();
    let hand = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        stop.raise();
    });
    let outcome = suite.run(bench, &program, &control, |_, _| ());
    // It only raises a flag.
    drop(hand.join());
    let (end, rows) = outcome?;
    match end {
        Ok(RunEnd::Stopped) if rows.is_empty() => {}
        Ok(end) => return Err(format!("told to stop in the first shot, it ended as {end:?} after {}", rows.len())),
        Err(error) => return Err(failed("run", &error)),
    }
    is_safe(bench, "a stop in the middle of a shot")?;
    suite.run_well(bench, 1)
}

fn stop_after_second(suite: &Conformance<'_>, bench: &mut Bench, raise: impl Fn(&RunControl)) -> Result<(), String> {
    suite.ready(bench)?;
    let can_stop = bench.driver.capabilities().stop >= StopSupport::AfterShot;
    let program = suite.program(suite.many);
    let control = RunControl::until(suite.deadline());
    let (end, rows) = suite.run(bench, &program, &control, |count, _| {
        if count == 2 {
            raise(&control);
        }
    })?;
    match end.map_err(|error| failed("run", &error))? {
        RunEnd::Stopped if can_stop && (2..suite.many as usize).contains(&rows.len()) => {}
        RunEnd::Complete if !can_stop && rows.len() == suite.many as usize => {}
        end => {
            let many = suite.many;
            return Err(format!("told to stop after 2 of {many} shots, it ended as {end:?} after {}", rows.len()));
        }
    }
    suite.check_rows(bench, &rows)?;
    if can_stop {
        is_safe(bench, "a stop")?;
    }
    suite.run_well(bench, 2)
}

fn stop_before(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    suite.ready(bench)?;
    if bench.driver.capabilities().stop == StopSupport::AtEnd {
        return Ok(());
    }
    let control = RunControl::until(suite.deadline());
    control.after_shot.raise();
    let (end, rows) = suite.run(bench, &suite.program(suite.many), &control, |_, _| ())?;
    match end.map_err(|error| failed("run", &error))? {
        RunEnd::Stopped if rows.is_empty() => is_safe(bench, "a stop"),
        end => Err(format!("it ended as {end:?} after {} shots", rows.len())),
    }
}

fn reopened(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    bench.driver.close();
    suite.ready(bench)?;
    suite.run_well(bench, 1)?;
    within("close", suite.patience, || {
        bench.driver.close();
        bench.driver.close();
    })?;
    is_safe(bench, "close")?;
    suite.ready(bench)?;
    suite.run_well(bench, 2)
}

/// Every request that talks to the device, by its name.
type Asked = (&'static str, Result<(), DriverError>);

fn ask_everything(suite: &Conformance<'_>, bench: &mut Bench, limit: Duration) -> Result<Vec<Asked>, String> {
    let program = suite.program(1);
    let driver = &mut bench.driver;
    let soon = || Deadline::after(limit);
    Ok(vec![
        ("health", within("health", limit, || driver.health(soon()).map(drop))?),
        ("safe_state", within("safe_state", limit, || driver.safe_state(soon()).map(drop))?),
        ("configure", within("configure", limit, || driver.configure(soon()))?),
        ("prepare", within("prepare", limit, || driver.prepare(&program, soon()).map(drop))?),
        ("identify", within("identify", limit, || driver.identify(soon()).map(drop))?),
    ])
}

fn away_and_back(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    suite.ready(bench)?;
    suite.run_well(bench, 1)?;
    if !bench.device.unplug() {
        return Ok(());
    }
    for (request, outcome) in ask_everything(suite, bench, suite.patience)? {
        match outcome {
            // What was prepared may wait on the computer until the run.
            Ok(()) if request == "prepare" => {}
            Ok(()) => return Err(format!("{request} works although the device is away")),
            Err(error) if error.class() == ErrorClass::Device => {}
            Err(error) => return Err(failed(request, &error)),
        }
    }
    bench.device.replug();
    suite.ready(bench)?;
    suite.run_well(bench, 2)
}

fn pulled_in_run(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    suite.ready(bench)?;
    let mut could_unplug = true;
    let control = RunControl::until(suite.deadline());
    let (end, rows) = suite.run(bench, &suite.program(suite.many), &control, |count, device| {
        if count == 2 {
            could_unplug = device.unplug();
        }
    })?;
    if !could_unplug {
        return Ok(());
    }
    match end {
        // They were all on this side of the cable already.
        Ok(RunEnd::Complete) if rows.len() == suite.many as usize => {}
        Ok(end) => return Err(format!("it ended as {end:?} after {} shots", rows.len())),
        Err(error) if error.class() == ErrorClass::Device => {}
        Err(error) => return Err(failed("run", &error)),
    }
    suite.check_rows(bench, &rows)?;
    bench.device.replug();
    suite.ready(bench)?;
    suite.run_well(bench, 2)
}

fn deadlines(suite: &Conformance<'_>, bench: &mut Bench) -> Result<(), String> {
    const SHORT: Duration = Duration::from_millis(200);
    suite.ready(bench)?;
    // Whether they work in no time is up to them.
    ask_everything(suite, bench, Duration::ZERO)?;
    suite.ready(bench)?;
    if let Some(long) = &suite.long {
        let program = crate::Program { shots: 2, ..long.clone() };
        let control = RunControl::until(Deadline::after(SHORT));
        let (end, _) = within("a run", SHORT + suite.patience, || suite.run(bench, &program, &control, |_, _| ()))??;
        if let Ok(end) = end {
            return Err(format!("a run that was too long ended as {end:?}"));
        }
        suite.ready(bench)?;
    }
    if bench.device.silence() {
        for (request, outcome) in ask_everything(suite, bench, SHORT)? {
            if outcome.is_ok() && request != "prepare" {
                return Err(format!("{request} works although the device is silent"));
            }
        }
        bench.device.end_silence();
    }
    suite.ready(bench)?;
    suite.run_well(bench, 1)
}

/// Looks at the outputs, where that can be done.
fn is_safe(bench: &mut Bench, after: &str) -> Result<(), String> {
    match bench.device.is_safe() {
        Some(false) => Err(format!("the outputs are not safe after {after}")),
        _ => Ok(()),
    }
}
