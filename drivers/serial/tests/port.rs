//! A port against devices that behave badly, on pseudo-terminals.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qspool_driver::{Deadline, DriverError, ErrorClass};
use qspool_serial::{Dialogue, LineEnd, LinePort, PortSettings, SimulatedLine, SimulatedPort};
use serialport::{SerialPort as _, TTYPort};

const SHORT: Duration = Duration::from_millis(80);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn settings(path: &Path) -> PortSettings {
    PortSettings { quiet: ms(20), late: ms(300), ..PortSettings::new(path) }
}

/// A device that is given whole lines, without their ends.
fn device(mut answer: impl FnMut(&str, &mut SimulatedLine) + Send + 'static) -> SimulatedPort {
    let mut kept = Vec::new();
    SimulatedPort::start(move |bytes: &[u8], line: &mut SimulatedLine| {
        kept.extend_from_slice(bytes);
        while let Some(end) = kept.iter().position(|&byte| byte == b'\n') {
            let request: Vec<u8> = kept.drain(..=end).collect();
            answer(String::from_utf8_lossy(&request).trim_end(), line);
        }
    })
    .expect("a pseudo-terminal")
}

fn open(device: &SimulatedPort) -> LinePort {
    let mut port = LinePort::new(settings(device.path()));
    port.open(soon()).expect("open");
    port
}

fn refused<T: std::fmt::Debug>(result: Result<T, DriverError>, class: ErrorClass, text: &str) {
    let error = result.expect_err("an error");
    assert_eq!(error.class(), class, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn replies_end_in_either_way_and_empty_lines_are_skipped() {
    let device = device(|request, line| line.reply(format!("\r\n{request} 1\r\n\n{request} 2\n\r")));
    let mut port = open(&device);
    assert_eq!(port.ask("get", soon()), Ok("get 1".to_owned()));
    assert_eq!(port.read_line(soon()), Ok("get 2".to_owned()));
    assert_eq!(port.ask("put", soon()), Ok("put 1".to_owned()));
}

#[test]
fn the_end_of_what_is_sent_is_the_one_of_the_settings() {
    for (line_end, expected) in [(LineEnd::Lf, "a\n"), (LineEnd::CrLf, "a\r\n"), (LineEnd::Cr, "a\r")] {
        let device = SimulatedPort::start(|bytes: &[u8], line: &mut SimulatedLine| {
            line.reply(format!("{}{}", String::from_utf8_lossy(bytes).escape_debug(), "\r"));
            line.reply("\n");
        })
        .expect("a pseudo-terminal");
        let mut port = LinePort::new(PortSettings { line_end, ..settings(device.path()) });
        port.open(soon()).expect("open");
        assert_eq!(port.ask("a", soon()), Ok(expected.escape_debug().to_string()));
    }
}

#[test]
fn a_line_in_pieces_is_one_line() {
    let device = device(|_, line| {
        line.reply("ver");
        line.reply_after(ms(30), "sion: 1.");
        line.reply_after(ms(60), "1.1\r");
        line.reply_after(ms(90), "\n");
    });
    assert_eq!(open(&device).ask("version", soon()), Ok("version: 1.1.1".to_owned()));
}

#[test]
fn what_nobody_asked_for_is_dropped_and_shown() {
    let device = device(|request, line| {
        line.reply(format!("{request}\r\n"));
        line.reply("Resus!\r\n\0\u{fffd}garbage");
    });
    let mut port = open(&device);
    let dropped = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&dropped);
    port.listen(move |piece| {
        if let Dialogue::Dropped(bytes) = piece {
            seen.lock().expect("lock").push_str(&String::from_utf8_lossy(bytes));
        }
    });
    port.ask_for("one", "one", soon()).expect("one");
    std::thread::sleep(ms(20));
    port.ask_for("two", "two", soon()).expect("two");
    assert!(dropped.lock().expect("lock").starts_with("Resus!"));
    assert!(port.take_dropped().starts_with("Resus!"));
    assert_eq!(port.take_dropped(), "");
}

#[test]
fn bytes_from_before_the_first_request_are_not_its_reply() {
    let device = device(|request, line| line.reply(format!("{request}\n")));
    let mut noise = std::fs::OpenOptions::new().write(true).open(device.path()).expect("a noisy neighbour");
    noise.write_all(b"AT\nAT+CGMI\n").expect("noise");
    drop(noise);
    open(&device).ask_for("version", "version", soon()).expect("its own reply");
}

#[test]
fn a_reply_that_is_cut_is_an_error_and_its_rest_not_the_next_reply() {
    let mut is_first = true;
    let device = device(move |request, line| {
        if std::mem::take(&mut is_first) {
            line.reply("x".repeat(127));
        } else {
            line.reply(format!("{request}\n"));
        }
    });
    let mut port = open(&device);
    refused(
        port.ask("bad", Deadline::after(SHORT)),
        ErrorClass::Retry,
        "did not end its answer within 80ms; sent: \"bad\"",
    );
    port.ask_for("status", "status", soon()).expect("its own reply");
}

#[test]
fn a_line_without_end_is_bounded() {
    let device = device(|_, line| line.reply(vec![b'x'; 100_000]));
    refused(open(&device).ask("flood", soon()), ErrorClass::Retry, "without the end of a line");
}

#[test]
fn silence_is_an_error_at_the_deadline() {
    let device = device(|_, _| {});
    let begin = Instant::now();
    refused(open(&device).ask("status", Deadline::after(SHORT)), ErrorClass::Device, "did not answer within 80ms");
    assert!(begin.elapsed() < ms(500), "{:?}", begin.elapsed());
}

#[test]
fn one_deadline_counts_over_all_pieces() {
    let device = device(|_, line| (0..100).for_each(|piece| line.reply_after(ms(piece * 20), "x")));
    let begin = Instant::now();
    open(&device).ask("slow", Deadline::after(ms(200))).expect_err("no end");
    assert!(begin.elapsed() < ms(600), "{:?}", begin.elapsed());
}

#[test]
fn a_late_reply_is_not_taken_for_the_next_one() {
    let mut is_first = true;
    let device = device(move |request, line| {
        let delay = if std::mem::take(&mut is_first) { 200 } else { 0 };
        line.reply_after(ms(delay), format!("{request}\n"));
    });
    let mut port = open(&device);
    port.ask("one", Deadline::after(SHORT)).expect_err("too late");
    assert_eq!(port.ask("two", soon()), Ok("two".to_owned()));
}

#[test]
fn an_unexpected_reply_is_an_error_and_what_follows_it_is_dropped() {
    let device = device(|request, line| {
        if request == "set" {
            line.reply("cannot execute set\r\n");
            line.reply_after(ms(10), " during run\r\nok");
        } else {
            line.reply(format!("{request}\n"));
        }
    });
    let mut port = open(&device);
    refused(port.ask_for("set", "ok", soon()), ErrorClass::Retry, "expected \"ok\"; sent: \"set\"; answered: \"cannot");
    port.ask_for("status", "status", soon()).expect("its own reply");
    assert_eq!(port.ask("set", soon()), Ok("cannot execute set".to_owned()));
    assert_eq!(port.read_until_quiet(soon()), Ok(vec![" during run".to_owned(), "ok".to_owned()]));
}

#[test]
fn the_place_is_found_by_a_reply_that_looks_like_no_other() {
    let device = device(|request, line| line.reply(format!("old\nolder\n{request}: 1.0\n")));
    let mut port = open(&device);
    assert_eq!(port.ask_until("ver", |line| line.starts_with("ver: "), soon()), Ok("ver: 1.0".to_owned()));
}

#[test]
fn a_device_that_does_not_stop_is_an_error() {
    let device = device(|_, line| (0..200).for_each(|piece| line.reply_after(ms(piece * 5), "x\n")));
    let mut port = open(&device);
    port.ask("go", soon()).expect("a line");
    refused(port.drain(Deadline::after(ms(100))), ErrorClass::Device, "was not quiet within 100ms");
}

#[test]
fn a_hang_up_closes_the_port_at_once() {
    let device = device(|_, line| line.hang_up());
    let mut port = open(&device);
    refused(port.ask("start", soon()), ErrorClass::Device, "hung up");
    assert!(!port.is_open());
    refused(port.ask("start", soon()), ErrorClass::Device, "is not open");
}

#[test]
fn a_plug_that_was_pulled_between_two_requests_is_noticed() {
    let device = device(|request, line| line.reply(format!("{request}\n")));
    let mut port = open(&device);
    port.ask_for("one", "one", soon()).expect("one");
    drop(device);
    refused(port.ask("two", soon()), ErrorClass::Device, "hung up");
    assert!(!port.is_open());
}

#[test]
fn an_echo_is_no_reply() {
    let device = device(|request, line| {
        line.reply(if request == "bad" { "bed\r\n".to_owned() } else { format!("{request}\r\nok\r\n") });
    });
    let mut port = LinePort::new(PortSettings { echo: true, ..settings(device.path()) });
    port.open(soon()).expect("open");
    assert_eq!(port.ask("set", soon()), Ok("ok".to_owned()));
    refused(port.ask("bad", soon()), ErrorClass::Retry, "expected \"bad\"; sent: \"bad\"; answered: \"bed\"");
    assert_eq!(port.ask("set", soon()), Ok("ok".to_owned()));
}

#[test]
fn a_last_line_arrives_although_the_port_is_closed_at_once() {
    for _ in 0..20 {
        let (told, heard) = std::sync::mpsc::channel();
        let device = device(move |request, _| told.send(request.to_owned()).expect("a listener"));
        let mut port = open(&device);
        port.tell("shutter closed", soon()).expect("told");
        port.close();
        assert_eq!(heard.recv_timeout(ms(2000)), Ok("shutter closed".to_owned()));
    }
}

#[test]
fn a_device_comes_back_under_its_link() {
    let folder = tempfile::tempdir().expect("folder");
    let link = folder.path().join("usb-Pico-if00");
    let plug = || {
        let device = device(|request, line| line.reply(format!("{request}\n")));
        symlink(device.path(), &link).expect("link");
        device
    };
    let first = plug();
    let mut port = LinePort::new(settings(&link));
    port.open(soon()).expect("open");
    drop(first);
    port.ask("one", soon()).expect_err("gone");
    // Another device may have the number of the old one by now.
    std::fs::remove_file(&link).expect("unlink");
    refused(port.open(soon()), ErrorClass::Device, "is not there");
    let _second = plug();
    port.open(soon()).expect("open again");
    port.ask_for("two", "two", soon()).expect("two");
}

#[test]
fn a_write_that_blocks_ends_at_the_deadline() {
    let (_master, slave) = TTYPort::pair().expect("a pseudo-terminal");
    let path = slave.name().expect("name");
    drop(slave);
    let mut port = LinePort::new(settings(Path::new(&path)));
    port.open(soon()).expect("open");
    let begin = Instant::now();
    refused(
        port.send_bytes(&vec![0; 1_000_000], Deadline::after(SHORT)),
        ErrorClass::Device,
        "of 1000000 bytes within 80ms",
    );
    assert!(begin.elapsed() < ms(500), "{:?}", begin.elapsed());
}

#[test]
fn a_port_has_one_owner() {
    let device = device(|request, line| line.reply(format!("{request}\n")));
    let mut first = open(&device);
    let mut second = LinePort::new(settings(device.path()));
    refused(second.open(soon()), ErrorClass::Device, "another program has it open");
    first.close();
    second.open(soon()).expect("free again");
    second.ask_for("one", "one", soon()).expect("one");
}

#[test]
fn lines_that_may_not_be_sent_are_not_sent() {
    let device = device(|request, line| line.reply(format!("{request}\n")));
    let forbidden = ["pro", "prg"].map(ToOwned::to_owned).to_vec();
    let mut port = LinePort::new(PortSettings { forbidden, ..settings(device.path()) });
    port.open(soon()).expect("open");
    for line in ["program", " PRG 1", "pro"] {
        refused(port.ask(line, soon()), ErrorClass::Configuration, "are forbidden for this device");
    }
    refused(port.ask("a\nprg", soon()), ErrorClass::Configuration, "control character");
    refused(
        port.ask(&"x".repeat(255), soon()),
        ErrorClass::Configuration,
        "it has 256 bytes with its end, allowed are 255",
    );
    port.ask_for("pr", "pr", soon()).expect("allowed");
}

/// Answers `setb <n>` with `ready`, takes n bytes, then says `ok`.
fn block_device() -> SimulatedPort {
    let (mut kept, mut wanted): (Vec<u8>, Option<usize>) = (Vec::new(), None);
    SimulatedPort::start(move |bytes: &[u8], line: &mut SimulatedLine| {
        kept.extend_from_slice(bytes);
        loop {
            if let Some(count) = wanted {
                if kept.len() < count {
                    return;
                }
                kept.drain(..count);
                wanted = None;
                line.reply("ok\r\n");
            }
            let Some(end) = kept.iter().position(|&byte| byte == b'\n') else { return };
            let request: Vec<u8> = kept.drain(..=end).collect();
            let request = String::from_utf8_lossy(&request).trim().to_owned();
            match request.strip_prefix("setb ").and_then(|count| count.parse().ok()) {
                Some(count) if count <= 100_000 => {
                    wanted = Some(count);
                    line.reply("ready\r\n");
                }
                _ => line.reply("no such thing\r\n"),
            }
        }
    })
    .expect("a pseudo-terminal")
}

#[test]
fn a_block_is_sent_when_the_device_is_ready() {
    let device = block_device();
    let mut port = open(&device);
    port.send_block("setb 60000", "ready", &vec![b'\n'; 60000], "ok", soon()).expect("a block");
    let too_long = port.send_block("setb 100001", "ready", &[], "ok", soon());
    refused(too_long, ErrorClass::Retry, "expected \"ready\"; sent: \"setb 100001\"; answered: \"no such thing\"");
}

#[test]
fn a_block_that_was_cut_off_is_finished_with_zeros() {
    let device = block_device();
    let mut port = open(&device);
    let cut = port.send_block("setb 1000", "ready", &[1; 300], "ok", Deadline::after(SHORT));
    refused(cut, ErrorClass::Device, "did not answer");
    let sent = port.finish_block("version", 100_000, soon()).expect("zeros help");
    assert!((600..=800).contains(&sent), "{sent}");
    assert_eq!(port.ask("version", soon()), Ok("no such thing".to_owned()));
    assert_eq!(port.finish_block("version", 1000, soon()), Ok(0));
}

#[test]
fn a_port_without_modem_lines_says_so() {
    let device = device(|_, _| {});
    let mut port = open(&device);
    assert_eq!((port.set_dtr(true), port.set_rts(false)), (Ok(false), Ok(false)));
}

#[test]
fn any_bytes_at_all_do_not_panic() {
    let mut state = 1_u32;
    let device = SimulatedPort::start(move |_: &[u8], line: &mut SimulatedLine| {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let length = usize::from(next());
        line.reply((0..length).map(|_| next()).collect::<Vec<u8>>());
    })
    .expect("a pseudo-terminal");
    let mut port = LinePort::new(PortSettings { quiet: ms(2), late: ms(5), ..settings(device.path()) });
    port.open(soon()).expect("open");
    for _ in 0..200 {
        // Either is fine.
        drop(port.ask("x", Deadline::after(ms(5))));
        assert!(port.is_open());
    }
}
