//! From a file as it is written to one that can be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qspool_serial::{DataBits, FlowControl, LineEnd, Parity, PortSettings, StopBits};

use crate::checker::{Checker, Named};
use crate::error::{FileError, unknown};
use crate::expression::{Expression, is_name};
use crate::file::{
    EndOfShot, ErrorQuery, Gate, HealthQuery, Identify, LineFile, ProgramRules, ResultRules, Shot, Values, WireCount,
};
use crate::param::Param;
use crate::raw::{
    RawBy, RawFile, RawFlowControl, RawGate, RawIdentify, RawParity, RawPoll, RawPort, RawProgram, RawResult, RawShot,
    RawSimulate, RawWait, RawWires,
};
use crate::simulate::{Reply, Rules};
use crate::steps::{Pattern, Progress, pieces};

/// The groups that a reply to the question who it is may have.
const IDENTITY: [&str; 4] = ["vendor", "model", "serial", "firmware"];

/// More wires have no device that speaks lines.
const MOST_WIRES: u32 = 1024;

/// So many rows where a file sets no limit.
const MOST_ROWS: u32 = 1_000_000;

/// So often a run looks whether it is stopped.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A shot that takes a day is a mistake.
const LONGEST_S: f64 = 86_400.0;

/// What the formulas of a shot are tried with.
const SHOT: [Named<'_>; 2] = [("shot", 0.0, 4_294_967_295.0), ("shots", 1.0, 4_294_967_295.0)];

pub(crate) fn check(path: &Path, raw: &RawFile) -> Result<LineFile, FileError> {
    let port = port(path, &raw.port)?;
    let calibration = raw.calibration.as_ref().map(|table| table.load(path)).transpose()?;
    let constants = calibration.as_ref().map(|calibration| calibration.constants.clone()).unwrap_or_default();
    let mut checker =
        Checker { file: path, port: &port, timeout: Duration::ZERO, acknowledge: None, constants: &constants };
    checker.timeout = checker.duration("port.timeout_s", raw.port.timeout_s)?;
    checker.acknowledge =
        raw.port.acknowledge.as_deref().map(|text| checker.pattern("port.acknowledge", text)).transpose()?;
    let device = &raw.device;
    if device.name.trim().is_empty() {
        return checker.fail("device.name", "it is empty");
    }
    if !(1..=MOST_WIRES).contains(&device.num_wires) {
        return checker.fail("device.num_wires", format!("{}; allowed are 1 to {MOST_WIRES}", device.num_wires));
    }
    if device.max_shots == 0 {
        return checker.fail("device.max_shots", "0; it has to be at least 1");
    }
    if raw.safe.steps.is_empty() {
        return checker.fail("safe.steps", "a device needs a safe state; name at least one line that brings it there");
    }
    if raw.stop.as_ref().is_some_and(|stop| stop.steps.is_empty()) {
        return checker.fail("stop.steps", "it is empty; leave [stop] out for a device that cannot be stopped at once");
    }
    let max_rows = raw.program.max_rows.unwrap_or(MOST_ROWS);
    let limits = Limits { num_wires: device.num_wires, max_rows };
    let file = LineFile {
        path: path.to_owned(),
        name: device.name.clone(),
        version: device.version.clone(),
        vendor: device.vendor.clone(),
        model: device.model.clone().unwrap_or_else(|| device.name.clone()),
        num_wires: device.num_wires,
        max_shots: device.max_shots,
        timeout: checker.timeout,
        alarm: raw.port.alarm.as_deref().map(|text| checker.pattern("port.alarm", text)).transpose()?,
        identify: identify(&checker, &raw.identify)?,
        init: checker.steps("init.steps", &raw.init.steps, &[])?,
        safe: checker.steps("safe.steps", &raw.safe.steps, &[])?,
        stop: raw.stop.as_ref().map(|stop| checker.steps("stop.steps", &stop.steps, &[])).transpose()?,
        health: match &raw.health {
            Some(health) => Some(HealthQuery {
                send: checker.plain("health.send", &health.send)?,
                expect: checker.pattern("health.expect", &health.expect)?,
                good: checker.pattern("health.good", &health.good)?,
            }),
            None => None,
        },
        errors: match &raw.errors {
            Some(errors) => Some(ErrorQuery {
                query: checker.plain("errors.query", &errors.query)?,
                none: checker.pattern("errors.none", &errors.none)?,
            }),
            None => None,
        },
        calibration: calibration.map(|calibration| calibration.label()),
        gates: gates(&checker, &raw.gates, limits)?,
        program: program(&checker, &raw.program, limits)?,
        shot: shot(&checker, &raw.shot, limits)?,
        result: result(&checker, &raw.result, limits)?,
        simulate: raw.simulate.as_ref().map(|raw| simulation(&checker, raw)).transpose()?,
        port: port.clone(),
        constants: constants.clone(),
    };
    Ok(file)
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    num_wires: u32,
    max_rows: u32,
}

impl Limits {
    fn wire(self, name: &str) -> Named<'_> {
        (name, 0.0, f64::from(self.num_wires - 1))
    }

    fn rows(self, name: &str) -> Named<'_> {
        (name, 0.0, f64::from(self.max_rows))
    }
}

fn port(path: &Path, raw: &RawPort) -> Result<PortSettings, FileError> {
    let fail = |key: &str, what: String| Err(FileError::new(path, format!("port.{key}"), what));
    let line_end = match raw.eol.as_str() {
        "\n" => LineEnd::Lf,
        "\r\n" => LineEnd::CrLf,
        "\r" => LineEnd::Cr,
        other => return fail("eol", format!("{other:?}; allowed are \"\\n\", \"\\r\\n\" and \"\\r\"")),
    };
    let data_bits = match raw.data_bits {
        5 => DataBits::Five,
        6 => DataBits::Six,
        7 => DataBits::Seven,
        8 => DataBits::Eight,
        other => return fail("data_bits", format!("{other}; allowed are 5 to 8")),
    };
    let stop_bits = match raw.stop_bits {
        1 => StopBits::One,
        2 => StopBits::Two,
        other => return fail("stop_bits", format!("{other}; allowed are 1 and 2")),
    };
    if !(2..=65_536).contains(&raw.longest_line) {
        return fail("longest_line", format!("{}; allowed are 2 to 65536 bytes", raw.longest_line));
    }
    if raw.forbid.iter().any(String::is_empty) {
        return fail("forbid", "an empty beginning would forbid every line".to_owned());
    }
    let seconds = |key: &str, value: f64| match Duration::try_from_secs_f64(value) {
        Ok(time) if value <= 60.0 => Ok(time),
        _ => Err(FileError::new(path, format!("port.{key}"), format!("{value} s; allowed are 0 to 60"))),
    };
    Ok(PortSettings {
        path: PathBuf::new(),
        baud: raw.baud,
        data_bits,
        parity: match raw.parity {
            RawParity::None => Parity::None,
            RawParity::Even => Parity::Even,
            RawParity::Odd => Parity::Odd,
        },
        stop_bits,
        flow_control: match raw.flow_control {
            RawFlowControl::None => FlowControl::None,
            RawFlowControl::Software => FlowControl::Software,
            RawFlowControl::Hardware => FlowControl::Hardware,
        },
        line_end,
        settle: seconds("settle_s", raw.settle_s)?,
        quiet: seconds("quiet_s", raw.quiet_s)?,
        late: seconds("late_s", raw.late_s)?,
        pause: seconds("pause_s", raw.pause_s)?,
        echo: raw.echo,
        longest_sent: raw.longest_line,
        forbidden: raw.forbid.clone(),
        ..PortSettings::new("")
    })
}

fn identify(checker: &Checker<'_>, raw: &RawIdentify) -> Result<Identify, FileError> {
    let expect = checker.pattern("identify.expect", &raw.expect)?;
    if let Some(name) = expect.group_names().into_iter().find(|name| !IDENTITY.contains(name)) {
        return checker.fail("identify.expect", format!("group {}", unknown(name, &IDENTITY)));
    }
    let version = |key: &str, text: &Option<String>| {
        let Some(text) = text else { return Ok(None) };
        match version(text) {
            Some((parts, "")) => Ok(Some(parts)),
            _ => checker.fail(key, format!("{text:?} is no version; write one as \"1.2.0\"")),
        }
    };
    let firmware_min = version("identify.firmware_min", &raw.firmware_min)?;
    let firmware_max = version("identify.firmware_max", &raw.firmware_max)?;
    if (firmware_min.is_some() || firmware_max.is_some()) && !expect.group_names().contains(&"firmware") {
        return checker
            .fail("identify.expect", "it has no group (?<firmware>…) to compare with firmware_min and firmware_max");
    }
    let firmware = match (&raw.firmware_min, &raw.firmware_max) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("from {min}"),
        (None, Some(max)) => format!("up to {max}"),
        (None, None) => String::new(),
    };
    Ok(Identify { send: checker.plain("identify.send", &raw.send)?, expect, firmware_min, firmware_max, firmware })
}

/// The numbers at the beginning of a version, and what follows them.
pub(crate) fn version(text: &str) -> Option<(Vec<u64>, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let parts: Result<Vec<u64>, _> = text[..end].trim_end_matches('.').split('.').map(str::parse).collect();
    Some((parts.ok()?, &text[end..]))
}

fn gates(checker: &Checker<'_>, raw: &BTreeMap<String, RawGate>, limits: Limits) -> Result<Vec<Gate>, FileError> {
    if !raw.contains_key("measure") {
        return checker.fail("gates.measure", "it is missing; without it a program has no result");
    }
    raw.iter().map(|(name, raw)| gate(checker, name, raw, limits)).collect()
}

fn gate(checker: &Checker<'_>, name: &str, raw: &RawGate, limits: Limits) -> Result<Gate, FileError> {
    let key = format!("gates.{name}");
    if !is_name(name) {
        return checker.fail(&key, "a gate is named with letters, digits and \"_\"");
    }
    let wires = match raw.wires {
        Some(RawWires::Exactly(count)) if count > limits.num_wires => {
            return checker.fail(&format!("{key}.wires"), format!("{count}; device.num_wires is {}", limits.num_wires));
        }
        Some(RawWires::Exactly(count)) => WireCount::Exactly(count),
        Some(RawWires::Any) => WireCount::Any,
        None if ["measure", "barrier"].contains(&name) => WireCount::Any,
        None => WireCount::Exactly(1),
    };
    for allowed in &raw.allowed_wires {
        let fits = wires == WireCount::Any || u32::try_from(allowed.len()).ok().map(WireCount::Exactly) == Some(wires);
        if !fits || allowed.iter().any(|&wire| wire >= limits.num_wires) {
            let what = format!("{allowed:?} does not fit `wires`, or the {} wires of the device", limits.num_wires);
            return checker.fail(&format!("{key}.allowed_wires"), what);
        }
    }
    let params = raw.params.clone();
    if let Err((index, what)) = Param::check_definitions(&params) {
        return checker.fail(&format!("{key}.params[{index}]"), what);
    }
    if name == "measure" && !params.is_empty() {
        return checker.fail(&format!("{key}.params"), "a measurement has no parameters");
    }
    let wire_names = wire_names(wires);
    let mut names: Vec<Named<'_>> = params.iter().map(|param| (param.name.as_str(), param.min, param.max)).collect();
    names.extend(wire_names.iter().map(|name| limits.wire(name)));
    let duration_s = raw.duration_s.clone().unwrap_or(Expression::number(0.0));
    let per_gate: Vec<Named<'_>> =
        names.iter().copied().filter(|(name, ..)| wires != WireCount::Any || *name != "w").collect();
    let duration = checker.formula(&format!("{key}.duration_s"), &duration_s, &per_gate, 0.0..=LONGEST_S)?;
    names.push(limits.rows("n"));
    let emit = checker.steps(&format!("{key}.emit"), &raw.emit.0, &names)?;
    Ok(Gate {
        name: name.to_owned(),
        description: raw.description.clone(),
        wires,
        allowed_wires: raw.allowed_wires.clone(),
        params,
        emit,
        duration,
    })
}

/// What the wires of a gate are called in its formulas.
pub(crate) fn wire_names(wires: WireCount) -> Vec<String> {
    match wires {
        WireCount::Any => vec!["w".to_owned()],
        WireCount::Exactly(1) => vec!["w".to_owned(), "w0".to_owned()],
        WireCount::Exactly(count) => (0..count).map(|index| format!("w{index}")).collect(),
    }
}

fn program(checker: &Checker<'_>, raw: &RawProgram, limits: Limits) -> Result<ProgramRules, FileError> {
    let names = [limits.rows("n"), limits.rows("rows"), SHOT[1]];
    let duration_s = raw.duration_s.clone().unwrap_or(Expression::number(0.0));
    let max_duration_s = raw.max_duration_s.unwrap_or(LONGEST_S);
    if !(0.0..=LONGEST_S).contains(&max_duration_s) {
        return checker.fail("program.max_duration_s", format!("{max_duration_s}; allowed are 0 to {LONGEST_S}"));
    }
    Ok(ProgramRules {
        begin: checker.steps("program.begin", &raw.begin.0, &names)?,
        end: checker.steps("program.end", &raw.end.0, &names)?,
        max_rows: limits.max_rows,
        duration: checker.formula("program.duration_s", &duration_s, &[limits.rows("rows")], 0.0..=LONGEST_S)?,
        max_duration_s,
    })
}

fn shot(checker: &Checker<'_>, raw: &RawShot, limits: Limits) -> Result<Shot, FileError> {
    let expected = ("expected_s", 0.0, LONGEST_S);
    let names = [SHOT[0], SHOT[1], limits.rows("rows"), expected];
    if raw.start.0.is_empty() {
        return checker.fail("shot.start", "it is empty; name the line that starts a shot");
    }
    let end = match (&raw.poll, &raw.wait) {
        (Some(RawPoll { send, every_s, after_s, done, running, failed }), None) => EndOfShot::Poll {
            send: checker.template("shot.poll.send", send, &names)?,
            every: checker.duration("shot.poll.every_s", *every_s)?,
            after: checker.duration("shot.poll.after_s", *after_s)?,
            progress: progress(checker, "shot.poll", done, running.as_deref(), failed.as_deref())?,
        },
        (None, Some(RawWait { done, running, failed })) => {
            EndOfShot::Wait { progress: progress(checker, "shot.wait", done, running.as_deref(), failed.as_deref())? }
        }
        _ => {
            let what = "the end of a shot is known from the device: either `poll` asks it, or `wait` is what it says by itself";
            return checker.fail("shot", what);
        }
    };
    let usual = || checker.at("shot.timeout_s", Expression::parse("2 * expected_s + 10"));
    let timeout = raw.timeout_s.clone().map_or_else(usual, Ok)?;
    let start = checker.steps("shot.start", &raw.start.0, &names)?;
    if let Some(step) = start.iter().find(|step| step.wait > LONGEST_PAUSE) {
        let what =
            format!("wait_s = {}; allowed are 0 to 0.1: a run has to see that it is stopped", step.wait.as_secs_f64());
        return checker.fail(&step.key, what);
    }
    Ok(Shot {
        start,
        end,
        timeout: checker.formula(
            "shot.timeout_s",
            &timeout,
            &[expected, limits.rows("rows")],
            0.0..=10.0 * LONGEST_S,
        )?,
    })
}

fn progress(
    checker: &Checker<'_>,
    key: &str,
    done: &str,
    running: Option<&str>,
    failed: Option<&str>,
) -> Result<Progress, FileError> {
    let pattern = |name: &str, text: &str| checker.pattern(&format!("{key}.{name}"), text);
    Ok(Progress {
        done: pattern("done", done)?,
        running: running.map(|text| pattern("running", text)).transpose()?,
        failed: failed.map(|text| pattern("failed", text)).transpose()?,
    })
}

fn result(checker: &Checker<'_>, raw: &RawResult, limits: Limits) -> Result<ResultRules, FileError> {
    let expect = raw.expect.as_deref().map(|text| checker.pattern("result.expect", text)).transpose()?;
    let has_value = |expect: &Pattern| expect.group_names().contains(&"value");
    let values = match &raw.each {
        None if !expect.as_ref().is_some_and(has_value) => {
            let what = "it needs a group (?<value>…), or `each` for a reply that has all values";
            return checker.fail("result.expect", what);
        }
        None if raw.by.is_some() => {
            return checker.fail("result.by", "it is for a reply that has all values, with `each`");
        }
        None => Values::PerWire,
        Some(each) => {
            let each = checker.at("result.each", pieces(each))?;
            if raw.by == Some(RawBy::Measure) { Values::OfMeasures(each) } else { Values::OfWires(each) }
        }
    };
    let mut names = vec![SHOT[0], SHOT[1]];
    if matches!(values, Values::PerWire) {
        names.push(limits.wire("w"));
    }
    let send = checker.template("result.send", &raw.send, &names)?;
    if matches!(values, Values::PerWire) && limits.num_wires > 1 && !send.uses("w") {
        return checker.fail("result.send", "it has to name the wire, as {w}, or all wires would give the same value");
    }
    if !(2..=36).contains(&raw.radix) {
        return checker.fail("result.radix", format!("{}; allowed are 2 to 36", raw.radix));
    }
    if raw.min > raw.max || raw.max < 0 {
        return checker.fail("result", format!("min = {} and max = {} leave no value", raw.min, raw.max));
    }
    let every = [("value", 0.0, 1e6), limits.wire("w")];
    let everything = f64::MIN..=f64::MAX;
    let formula: Option<Expression> = raw
        .formula
        .as_ref()
        .map(|formula| checker.formula("result.formula", formula, &every, everything))
        .transpose()?;
    Ok(ResultRules { send, expect, values, radix: raw.radix, formula, min: raw.min, max: raw.max })
}

fn simulation(checker: &Checker<'_>, raw: &RawSimulate) -> Result<Rules, FileError> {
    let set = raw.replies.iter().flat_map(|reply| reply.set.keys());
    let names: Vec<&str> = raw.state.keys().chain(set).map(String::as_str).collect();
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return checker.fail("simulate", format!("{name:?} is no name for what the device keeps in mind"));
    }
    let replies = raw.replies.iter().enumerate().map(|(index, reply)| {
        let key = format!("simulate.replies[{index}]");
        let busy_s = reply.busy_s.as_ref().map(|formula| {
            match formula.names().into_iter().find(|name| !names.contains(name) && *name != "pi") {
                Some(name) => checker.fail(&format!("{key}.busy_s"), format!("name {}", unknown(name, &names))),
                None => Ok(formula.clone()),
            }
        });
        if reply.then.is_some() && busy_s.is_none() {
            return checker.fail(&format!("{key}.then"), "it is said when `busy_s` is over, which is missing");
        }
        Ok(Reply {
            on: checker.pattern(&format!("{key}.on"), &reply.on)?,
            busy: reply.busy,
            say: reply.say.0.clone(),
            set: reply.set.clone(),
            busy_s: busy_s.transpose()?,
            then: reply.then.clone(),
        })
    });
    Ok(Rules { state: raw.state.clone(), replies: replies.collect::<Result<_, _>>()? })
}
