//! What goes wrong between a board and its driver.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::{Case, all, bench, dds_sweeper, fault, prawnblaster, prawndo, ready, run, soon};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};
use qspool_driver::testing::TestDevice as _;
use qspool_driver::{Deadline, Driver, DriverError, ErrorClass, Outcome, Program, RunControl};
use qspool_pico::{Board, BoardDriver, Part};
use qspool_prawnblaster::{ClockSource, PrawnBlaster, Settings};
use qspool_prawndo::PrawnDo;
use qspool_serial::{Fault, LinePort, PortSettings};

fn raw(bed: &common::Bed) -> LinePort {
    let mut port = LinePort::new(PortSettings::new(bed.plug.link()));
    port.open(soon()).expect("a port");
    port
}

fn assert_well(case: &Case, driver: &mut dyn Driver) {
    ready(driver).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    assert_eq!(run(driver, &case.good).map(|shots| shots.len()), Ok(1), "{}", case.name);
}

#[test]
fn what_others_wrote_to_a_port_that_was_just_plugged_in_does_no_harm() {
    for case in all() {
        let bed = (case.plug)();
        let mut modem_manager = raw(&bed);
        modem_manager.send_bytes(b"AT+GCAP\r\nATI\r\nAT\x00\xff+CGMI", soon()).expect("sent");
        drop(modem_manager);
        assert_well(&case, &mut *(case.driver)(bed.plug.link()));
    }
}

#[test]
fn a_board_that_waits_for_the_rest_of_a_block_is_got_out_of_there() {
    for (case, header) in [(prawnblaster(), "setb 0 0 1000"), (prawndo(), "adm 0 3e8"), (dds_sweeper(), "setb 0 2000")]
    {
        let bed = (case.plug)();
        let mut other = raw(&bed);
        if case.name == "DDS sweeper" {
            other.tell("mode 0 0", soon()).expect("sent");
        }
        let reply = other.ask(header, soon()).expect("ready");
        assert!(reply == "ok" || reply.starts_with("ready"), "{reply}");
        other.send_bytes(&[7; 1001], soon()).expect("sent");
        drop(other);
        assert_well(&case, &mut *(case.driver)(bed.plug.link()));
    }
}

#[test]
fn a_large_block_that_was_cut_off_is_ended_in_several_attempts() {
    let case = prawndo();
    let bed = (case.plug)();
    let mut other = raw(&bed);
    // 60,000 bytes, of which none comes.
    assert_eq!(other.ask("adm 0 2710", soon()), Ok("ready".to_owned()));
    drop(other);
    let mut driver = (case.driver)(bed.plug.link());
    let mut attempt = || driver.identify(Deadline::after(Duration::from_secs(2)));
    assert!(attempt().is_err());
    assert!((0..10).any(|_| attempt().is_ok()));
    assert_well(&case, &mut *driver);
}

#[test]
fn a_list_that_was_not_ended_is_ended() {
    let case = prawndo();
    let bed = (case.plug)();
    let mut other = raw(&bed);
    other.tell("add", soon()).expect("sent");
    other.tell("ffff 64", soon()).expect("sent");
    drop(other);
    assert_well(&case, &mut *(case.driver)(bed.plug.link()));
}

#[test]
fn replies_that_come_in_pieces_are_put_together() {
    for case in all() {
        let (mut driver, bed) = bench(&case);
        fault(&bed, Fault::Pieces(3, Duration::from_millis(2)));
        assert_well(&case, &mut *driver);
    }
}

#[test]
fn a_clock_that_is_lost_is_told_whenever_the_board_says_so() {
    for case in [prawnblaster(), prawndo()] {
        let (mut driver, bed) = bench(&case);
        driver.prepare(&case.good, soon()).expect("prepared");
        // Before the reply to the next command.
        fault(&bed, Fault::Before(b"Resus event fired. Back on internal clock\r\n".to_vec()));
        let error = driver.run(&RunControl::until(soon()), &mut Outcome::default()).expect_err("no clock");
        assert_eq!(error.class(), ErrorClass::Device, "{error}");
        assert!(error.to_string().contains("lost its external clock"), "{error}");
        // Once it is quiet again, it can be set up again.
        bed.plug.fault(None);
        assert_well(&case, &mut *driver);
    }
}

/// On the external clock, of which the firmware says whether it is there.
fn assert_misses_its_clock<B: Board + 'static>(
    board: Result<B, DriverError>,
    program: &Program,
    lose: impl FnOnce(&mut B::Simulated),
) {
    let firmware = Arc::<Mutex<B::Simulated>>::default();
    let part = Part::with_firmware(board.expect("good settings"), Path::new("sim:"), Arc::clone(&firmware));
    let mut driver = BoardDriver::new(part.expect("a simulated port"));
    ready(&mut driver).expect("its clock is there");
    driver.prepare(program, soon()).expect("prepared");
    lose(&mut firmware.lock().unwrap_or_else(PoisonError::into_inner));
    let error = driver.run(&RunControl::until(soon()), &mut Outcome::default()).expect_err("no clock");
    assert_eq!(error.class(), ErrorClass::Device, "{error}");
    assert!(error.to_string().contains("another clock"), "{error}");
}

#[test]
fn a_clock_that_was_lost_without_a_word_shows_in_the_status() {
    let settings = Settings { source: ClockSource::Gpio20, ..Settings::clocks(2) };
    assert_misses_its_clock(PrawnBlaster::new(settings), &prawnblaster().good, |board| board.has_reference = false);
    let settings = qspool_prawndo::Settings { is_external: true, ..Default::default() };
    assert_misses_its_clock(PrawnDo::new(settings), &prawndo().good, |board| board.has_reference = false);
}

#[test]
fn an_error_that_ends_like_a_success_is_an_error() {
    let case = dds_sweeper();
    let (mut driver, bed) = bench(&case);
    fault(&bed, Fault::Before(b"Insufficient space for stop instruction\n".to_vec()));
    let error = driver.prepare(&case.good, soon()).expect_err("refused");
    assert!(error.to_string().contains("Insufficient space"), "{error}");
    bed.plug.fault(None);
    assert_well(&case, &mut *driver);
}

#[test]
fn a_reply_that_was_cut_without_its_end_is_not_taken_for_two() {
    for case in all() {
        let (mut driver, bed) = bench(&case);
        // As a board refuses a command in a run: cut at 127 bytes, with a line end in the middle.
        let mut refusal = b"Cannot execute command \"start\r\n\" during buffered execution. ".to_vec();
        refusal.resize(127, b'.');
        fault(&bed, Fault::Instead(refusal));
        let error = driver.prepare(&case.good, soon()).expect_err("refused");
        assert_eq!(error.class(), ErrorClass::Retry, "{error}");
        assert!(error.to_string().contains("Cannot execute"), "{error}");
        assert_eq!(run(&mut *driver, &case.good).map(|shots| shots.len()), Ok(1), "{}", case.name);
    }
}

#[test]
fn a_board_that_runs_for_another_is_stopped_before_it_is_set_up() {
    for case in all() {
        let (mut driver, bed) = bench(&case);
        driver.prepare(&case.long, soon()).expect("prepared");
        // As if the daemon had been killed in the middle of a shot: the board runs on.
        let mut lost = raw_while_open(&mut driver, &bed);
        lost.ask_until(case.start, |reply| reply == "ok", soon()).expect("started");
        drop(lost);
        let mut bed = bed;
        assert_eq!(bed.is_safe(), Some(false), "{}", case.name);
        let mut heir = (case.driver)(bed.plug.link());
        ready(&mut *heir).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(bed.is_safe(), Some(true), "{}", case.name);
        assert_well(&case, &mut *heir);
    }
}

/// The port, as a driver leaves it that was killed: without a word.
fn raw_while_open(driver: &mut Box<dyn Driver>, bed: &common::Bed) -> LinePort {
    // Its device hears nothing of the safe state that a close brings.
    fault(bed, Fault::DeadAfter(0));
    driver.close();
    bed.plug.fault(None);
    raw(bed)
}

#[test]
fn a_board_that_hangs_up_at_any_byte_is_welcome_back() {
    for case in all() {
        // As many bytes as all of it takes.
        let (mut driver, bed) = bench(&case);
        bed.plug.forget_sent();
        assert_well(&case, &mut *driver);
        // But for the last ones: how often it is asked whether it has ended differs from run to run.
        let whole = bed.plug.sent().len() * 9 / 10;
        driver.close();
        for cut in (0..whole).step_by(whole / 12 + 1) {
            let mut bed = (case.plug)();
            let mut driver = (case.driver)(bed.plug.link());
            fault(&bed, Fault::HangUpAfter(cut));
            let outcome = ready(&mut *driver).and_then(|()| run(&mut *driver, &case.good).map(drop));
            let error = outcome.expect_err("a hang-up");
            assert_eq!(error.class(), ErrorClass::Device, "{} after {cut}: {error}", case.name);
            // Another device may have got its name.
            bed.plug.fault(None);
            bed.replug();
            assert_well(&case, &mut *driver);
        }
    }
}

#[test]
fn a_board_that_falls_silent_at_any_byte_is_given_up_in_time_and_got_back() {
    for case in all() {
        let (mut driver, bed) = bench(&case);
        driver.close();
        bed.plug.forget_sent();
        assert_well(&case, &mut *driver);
        let whole = bed.plug.sent().len() * 9 / 10;
        driver.close();
        for cut in (0..whole).step_by(whole / 4 + 1) {
            let bed = (case.plug)();
            let mut driver = (case.driver)(bed.plug.link());
            fault(&bed, Fault::DeadAfter(cut));
            let begin = std::time::Instant::now();
            let outcome = driver
                .identify(Deadline::after(Duration::from_secs(2)))
                .and_then(|_| driver.configure(Deadline::after(Duration::from_secs(2))))
                .and_then(|()| run(&mut *driver, &case.good).map(drop));
            assert_eq!(outcome.expect_err("silence").class(), ErrorClass::Device, "{} after {cut}", case.name);
            assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
            // Also where the silence came in the middle of a block.
            bed.plug.fault(None);
            assert_well(&case, &mut *driver);
        }
    }
}

#[test]
fn strangers_and_other_versions_are_refused_by_name() {
    for (case, answers) in [
        (prawnblaster(), ["Version: 1.3.1", "0.4.0", "version: 1.0.0", "version: 1.2.0"]),
        (prawndo(), ["version: 1.1.1", "0.4.0", "Version: 1.1.9", "Version: 2.0.0"]),
        (dds_sweeper(), ["version: 1.1.1", "Version: 1.3.1", "0.3.9", "0.5.0"]),
    ] {
        for answer in answers {
            let bed = (case.plug)();
            fault(&bed, Fault::Before(format!("{answer}\r\n").into_bytes()));
            let error = (case.driver)(bed.plug.link()).identify(soon()).expect_err("another one");
            assert_eq!(error.class(), ErrorClass::Configuration, "{} told {answer}: {error}", case.name);
            assert!(error.to_string().contains(case.name), "{error}");
        }
    }
}

#[test]
fn a_port_has_one_owner() {
    for case in all() {
        let (_driver, bed) = bench(&case);
        let error = (case.driver)(bed.plug.link()).identify(soon()).expect_err("it is taken");
        assert!(error.class() == ErrorClass::Device && error.to_string().contains("another program"), "{error}");
    }
}

#[test]
fn a_run_that_is_stopped_leaves_the_outputs_safe() {
    for case in all() {
        let (mut driver, mut bed) = bench(&case);
        driver.prepare(&Program { shots: 3, ..case.long.clone() }, soon()).expect("prepared");
        let control = RunControl::until(Deadline::after(Duration::from_millis(300)));
        let error = driver.run(&control, &mut Outcome::default()).expect_err("too long");
        assert_eq!(error.class(), ErrorClass::Device, "{error}");
        driver.safe_state(soon()).expect("safe");
        assert_eq!(bed.is_safe(), Some(true), "{}", case.name);
        assert_eq!(run(&mut *driver, &case.good).map(|shots| shots.len()), Ok(1), "{}", case.name);
    }
}

#[test]
fn a_start_without_an_end_is_got_out_of_by_a_reset() {
    let case = dds_sweeper();
    let bed = (case.plug)();
    let mut other = raw(&bed);
    other.ask("start", soon()).expect("ok");
    other.drain(soon()).expect("quiet");
    assert_eq!(other.ask("status", soon()).expect("a state"), "1");
    drop(other);
    assert_well(&case, &mut *(case.driver)(bed.plug.link()));
}

#[test]
fn nothing_that_ends_the_firmware_is_ever_sent() {
    for case in all() {
        let (mut driver, bed) = bench(&case);
        assert_well(&case, &mut *driver);
        driver.close();
        let sent = bed.plug.sent().to_lowercase();
        assert!(!sent.lines().any(|line| line.trim_start().starts_with("pr")), "{sent}");
        // Of more than 16 bits the board would make a start.
        assert!(!sent.lines().any(|line| line.starts_with("man ") && line.len() > 8), "{sent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_board_says_is_an_answer_or_an_error(noise in vec(any::<u8>(), 0..300), which in 0..3_usize, step in 0..5_u8) {
        let case = &all()[which];
        let (mut driver, bed) = bench(case);
        if step > 1 {
            driver.prepare(&case.good, soon()).expect("prepared");
        }
        fault(&bed, Fault::Instead(noise));
        let short = || Deadline::after(Duration::from_millis(500));
        match step {
            0 => drop(driver.identify(short())),
            1 => drop(driver.prepare(&case.good, short())),
            2 => drop(driver.run(&RunControl::until(short()), &mut Outcome::default())),
            3 => drop(driver.safe_state(short())),
            _ => drop(driver.health(short())),
        }
        bed.plug.fault(None);
        assert_well(case, &mut *driver);
    }
}
