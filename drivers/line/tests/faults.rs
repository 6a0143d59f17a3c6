//! Devices that behave badly.

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Hook, Plug, Rows, cycle, example, program, soon};
use proptest::prelude::*;
use qspool_driver::testing::TestDevice as _;
use qspool_driver::{Deadline, Driver as _, DriverError, ErrorClass, Health, Program, RunControl, RunEnd};
use qspool_line::LineDriver;
use qspool_serial::{Dialogue, SimulatedLine};

const COUNTER: &str = "photon-counter.toml";
const BOX: &str = "pulse-box.toml";

fn exposure() -> Program {
    program(&[("expose", &[], &[0.005]), ("measure", &[0, 3], &[])])
}

fn pulse() -> Program {
    program(&[("pulse", &[1], &[0.001]), ("measure", &[0, 3], &[])])
}

/// Answers a line in place of the simulation.
fn instead(request: &'static str, reply: &'static str) -> impl FnMut(&str, &mut SimulatedLine) -> bool + Send {
    move |line, back| {
        let is_it = line == request;
        if is_it {
            back.reply(reply);
        }
        is_it
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, DriverError>, class: ErrorClass, texts: &[&str]) {
    let error = result.expect_err("an error");
    assert_eq!(error.class(), class, "{error}");
    texts.iter().for_each(|text| assert!(error.to_string().contains(text), "{error}\nhas no {text}"));
}

#[test]
fn a_stranger_is_refused_and_told_nothing() {
    let plug = Plug::with(example(COUNTER, &[]), instead("*IDN?", "Example Instruments,PC-500,7,2.3.1\n"));
    let mut driver = plug.driver();
    let expected = ["photon-counter at ", "unexpected answer to identify", "sent: \"*IDN?\"", "PC-500,7"];
    refused(driver.identify(soon()), ErrorClass::Configuration, &expected);
    refused(driver.safe_state(soon()), ErrorClass::Configuration, &expected);
    refused(driver.configure(soon()), ErrorClass::Device, &["it has to be identified first"]);
    driver.close();
    assert!(plug.sent().iter().all(|line| line == "*IDN?"), "{:?}", plug.sent());
}

#[test]
fn firmware_outside_the_range_is_refused() {
    for (firmware, is_good) in [("2.0.9", false), ("2.1", true), ("2.10.3", true), ("3.0", false), ("1.9", false)] {
        let plug = Plug::with(example(COUNTER, &[]), move |line, back| {
            let is_it = line == "*IDN?";
            if is_it {
                back.reply(format!("Example Instruments,PC-400,7,{firmware}\r\n"));
            }
            is_it
        });
        let identity = plug.driver().identify(soon());
        if is_good {
            let identity = identity.expect("in the range");
            assert_eq!((&*identity.model, &*identity.serial, &*identity.firmware), ("PC-400", "7", firmware));
            assert!(!identity.is_simulated);
        } else {
            let said = format!("its firmware is {firmware}; this driver was made for firmware from 2.1 to 2");
            refused(identity, ErrorClass::Configuration, &[&said]);
        }
    }
}

#[test]
fn an_error_that_looks_like_success_is_an_error() {
    for reply in ["ok?\n", "ok: not now\n", "not ok\n", "okok\n"] {
        let plug = Plug::with(example(BOX, &[]), instead("clock 1000000", reply));
        let mut driver = plug.driver();
        driver.identify(soon()).expect("known");
        let expected = ["unexpected answer to init.steps[1]; expected \"ok\"", reply.trim()];
        refused(driver.configure(soon()), ErrorClass::Device, &expected);
    }
}

#[test]
fn an_error_in_the_middle_of_a_program_may_be_tried_again() {
    let mut is_first = true;
    let plug = Plug::with(example(BOX, &[]), move |line, back| {
        let is_it = line.starts_with("row 00") && std::mem::take(&mut is_first);
        if is_it {
            back.reply("error: bus busy, se");
            back.reply_after(Duration::from_millis(5), "nd again\r\nok\r\n");
        }
        is_it
    });
    let mut driver = plug.driver();
    refused(cycle(&mut driver, &pulse()), ErrorClass::Retry, &["gates.pulse.emit[0]", "error: bus busy, send again"]);
    // What was left over is not taken for the next reply.
    cycle(&mut driver, &pulse()).expect("the second time");
}

#[test]
fn errors_that_wait_in_a_queue_are_read_out() {
    let file = example(COUNTER, &[("{ on = 'LIST:LEN \\d+' },", "")]);
    let plug = Plug::new(file, None);
    let mut driver = plug.driver();
    let expected = ["it reports errors after the program was loaded", "-113,\\\"Undefined header\\\""];
    refused(cycle(&mut driver, &exposure()), ErrorClass::Retry, &expected);

    let endless = Plug::with(example(COUNTER, &[]), instead("SYST:ERR?", "-1,\"x\"\n"));
    let mut driver = endless.driver();
    driver.identify(soon()).expect("known");
    refused(driver.configure(soon()), ErrorClass::Device, &["reports more than 32 errors"]);
}

#[test]
fn noise_at_plug_in_is_borne() {
    // A modem manager has written to the port, and the device answers to that, too.
    let mut count = 0;
    let plug = Plug::with(example(BOX, &[]), move |line, back| {
        count += 1;
        match count {
            1 => back.reply("\0\u{fffd}\u{1}error: unknown command ATwho\r\n"),
            2 => back.reply("OK\r\nERROR\r\n"),
            _ => return false,
        }
        assert_eq!(line, "who");
        true
    });
    cycle(&mut plug.driver(), &pulse()).expect("the third answer counts");
}

#[test]
fn a_device_that_answers_garbage_is_away_and_not_a_stranger() {
    let mut count = 0;
    let plug = Plug::with(example(BOX, &[]), move |_, back| {
        count += 1;
        back.reply(format!("\u{fffd}{count}\n"));
        true
    });
    refused(plug.driver().identify(soon()), ErrorClass::Device, &["unexpected answer to identify"]);
}

#[test]
fn replies_in_pieces_are_whole() {
    let file = example(BOX, &[]);
    let mut simulation = file.simulation().expect("a simulation");
    let plug = Plug::with(file, move |request, back| {
        let mut whole = SimulatedLine::default();
        qspool_serial::SimulatedDevice::receive(&mut simulation, format!("{request}\n").as_bytes(), &mut whole);
        if request.starts_with("go") {
            back.reply("o");
            back.reply_after(Duration::from_millis(5), "k\r");
            back.reply_after(Duration::from_millis(10), "\nrow 1\r\ndo");
            back.reply_after(Duration::from_millis(90), "ne\r\n");
            return true;
        }
        if request == "counts" {
            "counts 1 2 3 4\r\n".bytes().zip(0..).for_each(|(byte, index)| {
                back.reply_after(Duration::from_millis(index), vec![byte]);
            });
            return true;
        }
        false
    });
    assert_eq!(cycle(&mut plug.driver(), &pulse()), Ok(vec![vec![1, 4], vec![1, 4]]));
}

#[test]
fn silence_ends_at_the_deadline_and_names_the_command() {
    let plug = Plug::with(example(COUNTER, &[]), |line, _| line == "STAT:OPER:COND?");
    let mut driver = plug.driver();
    let begin = Instant::now();
    let expected = ["did not answer within 1s", "sent: \"STAT:OPER:COND?\""];
    refused(cycle(&mut driver, &exposure()), ErrorClass::Device, &expected);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_shot_that_does_not_end_is_an_error_with_the_last_reply() {
    let file = example(COUNTER, &[("timeout_s = \"2 * expected_s + 2\"", "timeout_s = 0.3")]);
    let plug = Plug::with(file, instead("STAT:OPER:COND?", "16\n"));
    let mut driver = plug.driver();
    let expected = ["shot 0 did not end within 300ms", "answered: \"16\""];
    refused(cycle(&mut driver, &exposure()), ErrorClass::Device, &expected);
}

#[test]
fn a_shot_that_failed_or_ends_strangely_may_be_tried_again() {
    for (reply, expected) in
        [("32\n", "shot 0 failed"), ("17\n", "unexpected word on shot 0; at its end \"0\" is expected")]
    {
        let plug = Plug::with(example(COUNTER, &[]), instead("STAT:OPER:COND?", reply));
        refused(cycle(&mut plug.driver(), &exposure()), ErrorClass::Retry, &[expected, reply.trim()]);
    }
}

#[test]
fn results_that_make_no_sense_are_errors() {
    for (reply, expected) in [
        ("counts 1 2 3\n", "unexpected answer to result.send"),
        ("counts 1 2 3 4 5\n", "unexpected answer to result.send"),
        ("counts 1 2 3 70000\n", "the value of wire 3 is 70000; allowed are 0 to 65535"),
        ("counts 99999999999999999999 2 3 4\n", "the value of wire 0 is 9223372036854775807"),
    ] {
        let plug = Plug::with(example(BOX, &[]), instead("counts", reply));
        refused(cycle(&mut plug.driver(), &pulse()), ErrorClass::Retry, &[expected]);
    }
    let loose = example(BOX, &[("expect = 'counts( \\d+){4}'\n", ""), ("each = '\\d+'", "each = '[\\w.]+'")]);
    for (reply, expected) in [
        ("1 2 3\n", "3 values, 4 are expected"),
        ("0.5 2 3 4\n", "the value of wire 0 is not whole: 0.5"),
        ("x 2 3 4\n", "the value of wire 0 is no number: \"x\""),
        ("inf 2 3 4\n", "the value of wire 0 is no number: \"inf\""),
    ] {
        let plug = Plug::with(loose.clone(), instead("counts", reply));
        refused(cycle(&mut plug.driver(), &pulse()), ErrorClass::Retry, &[expected]);
    }
}

#[test]
fn values_may_come_in_the_order_of_the_measurements_and_in_hexadecimal() {
    let file = example(
        BOX,
        &[
            ("expect = 'counts( \\d+){4}'\n", ""),
            ("each = '\\d+'", "each = '[0-9a-f]+'\nradix = 16"),
            ("by = \"wire\"", "by = \"measure\""),
        ],
    );
    let plug = Plug::with(file, instead("counts", "ff 10\n"));
    assert_eq!(cycle(&mut plug.driver(), &pulse()), Ok(vec![vec![255, 16]; 2]));
}

#[test]
fn after_an_error_in_a_run_the_device_is_configured_anew() {
    let mut is_first = true;
    let plug = Plug::with(example(BOX, &[]), move |line, back| {
        let is_it = line == "counts" && std::mem::take(&mut is_first);
        if is_it {
            back.reply("pulse-box ready\n");
        }
        is_it
    });
    let mut driver = plug.driver();
    refused(cycle(&mut driver, &pulse()), ErrorClass::Retry, &["pulse-box ready"]);
    let before = plug.sent().len();
    driver.prepare(&pulse(), soon()).expect("loaded");
    let sent = plug.sent()[before..].join("; ");
    assert!(sent.starts_with("who; ") && sent.contains("; clock 1000000; "), "{sent}");
    let mut rows = Rows::default();
    assert_eq!(driver.run(&RunControl::until(soon()), &mut rows), Ok(RunEnd::Complete));
    let before = plug.sent().len();
    driver.prepare(&pulse(), soon()).expect("loaded");
    assert_eq!(plug.sent()[before], "clear");
}

#[test]
fn a_device_that_says_that_it_restarted_is_away_until_it_is_configured() {
    let file = example(BOX, &[("[port]", "[port]\nalarm = 'pulse-box ready.*'")]);
    let plug = Plug::with(file, move |line, back| {
        match line {
            // As it does when its port is opened; that one is no alarm.
            "who" => back.reply("pulse-box v1.4 id=7\r\npulse-box ready\r\n"),
            "rows 1" => back.reply("ok\r\n\r\npulse-box ready (watchdog)\r\n"),
            _ => return false,
        }
        true
    });
    let mut driver = plug.driver();
    driver.identify(soon()).expect("known");
    driver.identify(soon()).expect("known still");
    std::thread::sleep(Duration::from_millis(20));
    refused(driver.configure(soon()), ErrorClass::Device, &["it has lost what it was told", "pulse-box ready"]);
    refused(driver.prepare(&pulse(), soon()), ErrorClass::Device, &["identified and configured first"]);
}

#[test]
fn a_warm_device_is_degraded() {
    let plug = Plug::with(example(COUNTER, &[]), instead("TEMP?", "45.5\n"));
    let mut driver = plug.driver();
    driver.identify(soon()).expect("known");
    assert_eq!(driver.health(soon()), Ok(Health::Degraded("it says \"45.5\"".to_owned())));
}

/// Pulls the plug at each line in turn, plugs another pseudo-terminal in, and looks whether all is well again.
fn survives_every_hang_up(name: &str, program: &Program) {
    for at in 0.. {
        let count = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&count);
        let hook: Hook = Arc::new(Mutex::new(move |_: &str, back: &mut SimulatedLine| {
            let mut count = counted.lock().expect("lock");
            *count += 1;
            if *count == at + 1 {
                back.hang_up();
            }
            *count == at + 1
        }));
        let mut plug = Plug::new(example(name, &[]), Some(hook));
        let mut driver = plug.driver();
        let first = cycle(&mut driver, program);
        if *count.lock().expect("lock") <= at {
            first.expect("no plug was pulled");
            assert!(at > 15, "only {at} lines were sent");
            return;
        }
        // A line that has no reply is not missed; the next one is.
        refused(first, ErrorClass::Device, &["port "]);
        plug.replug();
        cycle(&mut driver, program).unwrap_or_else(|error| panic!("after line {at}: {error}"));
    }
}

#[test]
fn the_counter_may_hang_up_at_any_line_and_come_back() {
    survives_every_hang_up(COUNTER, &exposure());
}

#[test]
fn the_box_may_hang_up_at_any_line_and_come_back() {
    survives_every_hang_up(BOX, &pulse());
}

#[test]
fn a_stop_reaches_the_device_and_makes_it_safe() {
    let plug = Plug::new(example(BOX, &[]), None);
    let mut driver = plug.driver();
    driver.identify(soon()).expect("known");
    driver.configure(soon()).expect("ready");
    let long = program(&[("pulse", &[0], &[4.0]), ("measure", &[0], &[])]);
    driver.prepare(&long, soon()).expect("loaded");
    let control = RunControl::until(soon());
    let stop = control.now.clone();
    let mut rows = Rows::default();
    let (end, taken) = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            stop.raise();
        });
        let begin = Instant::now();
        (driver.run(&control, &mut rows), begin.elapsed())
    });
    assert_eq!((end, rows.0.len()), (Ok(RunEnd::Stopped), 0));
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    let sent = plug.sent();
    assert_eq!(sent[sent.len() - 4..], ["go 0", "halt", "low all", "outputs"]);
}

/// Raises `now` at the first shot.
struct StopAtFirst<'a>(&'a RunControl, usize);

impl qspool_driver::ShotSink for StopAtFirst<'_> {
    fn shot(&mut self, _: &[i64]) {
        self.0.now.raise();
        self.1 += 1;
    }
}

#[test]
fn a_device_that_cannot_be_stopped_at_once_ends_its_shot() {
    let file = example(BOX, &[("[stop]\nsteps = [{ send = \"halt\", expect = 'ok|error: not running' }]\n", "")]);
    let plug = Plug::new(file, None);
    let mut driver = plug.driver();
    driver.identify(soon()).expect("known");
    driver.configure(soon()).expect("ready");
    driver.prepare(&Program { shots: 5, ..pulse() }, soon()).expect("loaded");
    let control = RunControl::until(soon());
    let mut sink = StopAtFirst(&control, 0);
    assert_eq!(driver.run(&control, &mut sink), Ok(RunEnd::Stopped));
    assert_eq!(sink.1, 1);
}

#[test]
fn whoever_listens_sees_the_dialogue() {
    let plug = Plug::new(example(BOX, &[]), None);
    let mut driver = plug.driver();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    driver.listen(move |piece| {
        let line = match piece {
            Dialogue::Sent(line) => format!("> {line}"),
            Dialogue::Received(line) => format!("< {line}"),
            other => format!("{other:?}"),
        };
        kept.lock().expect("lock").push(line);
    });
    driver.identify(soon()).expect("known");
    assert_eq!(*seen.lock().expect("lock"), ["> who", "< pulse-box v1.4 id=00C0FFEE"]);
}

#[test]
fn a_port_that_is_not_there_is_away_and_simulation_needs_rules() {
    let mut driver = LineDriver::new(example(BOX, &[]), "/none/port").expect("a driver");
    refused(driver.identify(soon()), ErrorClass::Device, &["port /none/port: is not there"]);
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(BOX);
    let text = std::fs::read_to_string(&path).expect("an example");
    let text = &text[..text.find("[simulate]").expect("its last table")];
    let file = qspool_line::LineFile::parse(&path, text).expect("good without it");
    refused(LineDriver::new(file, "sim:"), ErrorClass::Configuration, &["has no [simulate]"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The device is good for some lines and then says anything at all.
    #[test]
    fn no_reply_makes_the_driver_panic(
        good in 0..40_usize,
        replies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
        is_line in any::<bool>(),
        is_box in any::<bool>(),
    ) {
        let (name, program) = if is_box { (BOX, pulse()) } else { (COUNTER, exposure()) };
        let quick = [("timeout_s = 1.0", "timeout_s = 0.03"), ("quiet_s = 0.02", "quiet_s = 0.005"), ("late_s = 0.2", "late_s = 0.01")];
        let mut count = 0;
        let plug = Plug::with(example(name, &quick), move |_, back| {
            count += 1;
            if count <= good {
                return false;
            }
            let mut reply = replies[count % replies.len()].clone();
            if is_line {
                reply.retain(|byte| !byte.is_ascii_control());
                reply.push(b'\n');
            }
            back.reply(reply);
            true
        });
        let mut driver = plug.driver();
        // Either is fine; what counts is that it ends.
        drop(cycle(&mut driver, &program));
        drop(driver.safe_state(Deadline::after(Duration::from_millis(50))));
        driver.close();
    }
}
