//! The worked example, on its simulated apparatus behind four pseudo-terminals.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qspool_driver::{Deadline, Driver, ErrorClass, Outcome, Program, RunControl, RunEnd, testing};
use qspool_sequence::{Ports, SequenceDriver, SequenceFile};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rabi.toml")
}

fn driver() -> SequenceDriver {
    let file = SequenceFile::load(&example()).unwrap_or_else(|error| panic!("{error}"));
    SequenceDriver::new(file, None).unwrap_or_else(|error| panic!("{error}"))
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn ready() -> SequenceDriver {
    let mut driver = driver();
    assert!(driver.identify(soon()).expect("it is there").is_simulated);
    driver.configure(soon()).expect("configured");
    driver
}

fn program(gates: &[(&str, &[u32], &[f64])], shots: u32) -> Program {
    let measures = [("measure", &[0][..], &[][..]), ("measure", &[1][..], &[][..])];
    Program { shots, ..testing::program(2, &[gates, &measures].concat()) }
}

/// The part of the atoms that is found in state 1, and how many there are in a shot.
fn populations(driver: &mut SequenceDriver, gates: &[(&str, &[u32], &[f64])], shots: u32) -> (f64, f64) {
    driver.prepare(&program(gates, shots), soon()).unwrap_or_else(|error| panic!("{error}"));
    let mut outcome = Outcome::default();
    let end = driver.run(&RunControl::until(soon()), &mut outcome).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(end, RunEnd::Complete);
    assert_eq!(outcome.shots().len(), shots as usize);
    let rows = outcome.shots().iter().map(|&row| outcome.row(row));
    let [up, all] = rows.fold([0, 0], |[up, all], row| [up + row[0], all + row[0] + row[1]]);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (up, all) = (up as f64, all as f64);
    (up / all, all / f64::from(shots))
}

const LOAD: (&str, &[u32], &[f64]) = ("load", &[], &[0.01]);

#[test]
fn the_populations_follow_the_area_of_the_pulse() {
    let mut driver = ready();
    for step in 0..=12 {
        let theta = f64::from(step) * PI / 6.0;
        let (up, atoms) = populations(&mut driver, &[LOAD, ("rlx", &[0], &[theta])], 8);
        // Of 7000 atoms the mean is off by 0.006 at most one time in three; five times that is allowed.
        assert!((up - (theta / 2.0).sin().powi(2)).abs() < 0.03, "at {theta}: {up}");
        assert!((atoms - 1000.0 * (1.0 - f64::exp(-2.0))).abs() < 2.0, "{atoms}");
    }
}

#[test]
fn pulses_add_up_as_spins_do() {
    let mut driver = ready();
    let quarter = PI / 2.0;
    // Two quarter turns about the same axis make a half; about two axes they end on the equator.
    let (up, _) = populations(&mut driver, &[LOAD, ("rlx", &[0], &[quarter]), ("rlx", &[0], &[quarter])], 4);
    assert!(up > 0.99, "{up}");
    let (up, _) = populations(&mut driver, &[LOAD, ("rlx", &[0], &[quarter]), ("rly", &[0], &[quarter])], 8);
    assert!((up - 0.5).abs() < 0.03, "{up}");
}

#[test]
fn the_frequency_and_amplitude_are_those_of_the_sweeper() {
    let mut driver = ready();
    // Off resonance by the Rabi frequency, after half a turn there: half of sin^2(pi / sqrt 2).
    let (up, _) = populations(&mut driver, &[LOAD, ("pulse", &[0], &[25e-6, 20e3, 1.0])], 8);
    let expected = (PI / 2.0_f64.sqrt()).sin().powi(2) / 2.0;
    assert!((up - expected).abs() < 0.03, "{up} in place of {expected}");
    let (up, _) = populations(&mut driver, &[LOAD, ("pulse", &[0], &[25e-6, 0.0, 0.5])], 8);
    assert!((up - 0.5).abs() < 0.03, "{up}");
}

#[test]
fn a_part_that_is_not_there_is_named() {
    let file = SequenceFile::load(&example()).expect("an example");
    let port = |name: &str| PathBuf::from(format!("/nowhere/{name}"));
    let ports = Ports { clock: port("a"), outputs: port("b"), sweeper: port("c"), readout: port("d") };
    let error = SequenceDriver::new(file, Some(&ports)).expect("good settings").identify(soon()).expect_err("nothing");
    assert!(error.class() == ErrorClass::Device && error.to_string().contains("/nowhere/a"), "{error}");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_key() {
    let text = std::fs::read_to_string(example()).expect("an example");
    let folder = std::env::temp_dir().join(format!("qspool-sequence-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let calibration = example().with_file_name("microwave.toml");
    std::fs::copy(calibration, folder.join("microwave.toml")).expect("copied");
    for (from, to, said) in [
        ("on = [\"cooling\"]", "on = [\"coling\"]", "gates.load.on"),
        ("imaging = 2", "imaging = 16", "outputs: output imaging is 16"),
        ("2 * pi * rabi_hz", "2 * pi * raby_hz", "gates.rlx.duration_s"),
        ("file = \"microwave.toml\"", "file = \"none.toml\"", "none.toml"),
        ("file = \"microwave.toml\"", "name = \"none\"", "calibration"),
        ("num_wires = 2", "num_wires = 0", "num_wires"),
        ("[gates.wait]", "[gates.measure]", "gates.measure"),
        ("drive = \"microwave\"", "drive = \"laser\"", "simulate"),
        ("max_shots = 1000", "max_shot = 1000", "max_shot"),
    ] {
        let path = folder.join("bad.toml");
        std::fs::write(&path, text.replacen(from, to, 1)).expect("written");
        let error = SequenceFile::load(&path).expect_err(said);
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
    std::fs::remove_dir_all(folder).expect("removed");
}
