//! The examples pass the suite that every driver passes, over real pseudo-terminals.

mod common;

use std::time::Duration;

use common::{Plug, cycle, example, program, soon};
use qspool_driver::testing::{Bench, Conformance};
use qspool_driver::{Driver as _, Program};
use qspool_line::LineDriver;

fn suite(name: &'static str, good: Program, long: Program, bad: Vec<(Program, Option<usize>)>) -> Conformance<'static> {
    Conformance {
        bench: Box::new(move || {
            let plug = Plug::new(example(name, &[]), None);
            Bench { driver: Box::new(plug.driver()), device: Box::new(plug) }
        }),
        good,
        long: Some(long),
        bad,
        many: 20,
        patience: Duration::from_secs(10),
    }
}

#[test]
fn the_photon_counter_keeps_the_contract() {
    let measure = ("measure", &[3, 0][..], &[][..]);
    suite(
        "photon-counter.toml",
        program(&[("attenuate", &[2], &[0.01]), ("expose", &[], &[0.002]), ("barrier", &[0, 1], &[]), measure]),
        program(&[("expose", &[], &[5.0]), measure]),
        vec![
            (program(&[measure, ("expose", &[], &[11.0])]), Some(1)),
            (program(&[("expose", &[0], &[1.0])]), Some(0)),
            (program(&[("attenuate", &[4], &[0.0])]), Some(0)),
            (program(&[("attenuate", &[0], &[])]), Some(0)),
            (program(&[("rx", &[0], &[])]), Some(0)),
            (program(&[("expose", &[][..], &[10.0][..]); 7]), None),
            (program(&[("expose", &[][..], &[0.001][..]); 101]), Some(100)),
        ],
    )
    .assert();
}

#[test]
fn the_pulse_box_keeps_the_contract() {
    let measure = ("measure", &[][..], &[][..]);
    suite(
        "pulse-box.toml",
        program(&[("pulse", &[1], &[0.001]), measure, ("measure", &[2, 2], &[])]),
        program(&[("pulse", &[3], &[4.0]), measure]),
        vec![
            (program(&[("repeat", &[1, 2], &[1.0, 0.001])]), Some(0)),
            (program(&[("repeat", &[0, 1], &[1.5, 0.001])]), Some(0)),
            (program(&[("pulse", &[0], &[0.0])]), Some(0)),
        ],
    )
    .assert();
}

#[test]
fn a_simulated_device_gives_results_and_says_what_it_is() {
    for (name, gate, rows) in [
        ("photon-counter.toml", ("expose", &[][..], &[0.002][..]), [[100, 99], [104, 0]]),
        ("pulse-box.toml", ("pulse", &[0][..], &[0.002][..]), [[3, 0], [4, 1]]),
    ] {
        let mut driver = LineDriver::new(example(name, &[]), "sim:").expect("a simulation");
        let identity = driver.identify(soon()).expect("an answer");
        assert!(identity.is_simulated, "{identity:?}");
        assert_eq!(
            cycle(&mut driver, &program(&[gate, ("measure", &[0, 1], &[])])),
            Ok(rows.map(Vec::from).to_vec()),
            "{name}"
        );
        assert_eq!(driver.safe_state(soon()).expect("safe").read_back.len(), 1);
    }
}
