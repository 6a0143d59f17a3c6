//! The suite that every driver passes, on the simulated device.

use std::time::Duration;

use qspool_driver::testing::{self, Bench, Conformance};
use qspool_driver::{Deadline, Driver, Outcome, Program, RunControl, RunEnd};
use qspool_template::TemplateDriver;

fn driver() -> TemplateDriver {
    TemplateDriver::new("sim:").unwrap_or_else(|error| panic!("{error}"))
}

fn program(seconds: f64, wires: [u32; 2]) -> Program {
    let [lamp, detector] = wires;
    testing::program(2, &[("flash", &[lamp], &[seconds]), ("measure", &[0], &[]), ("measure", &[detector], &[])])
}

#[test]
fn the_template_passes_the_conformance_suite() {
    let conformance = Conformance {
        bench: Box::new(|| Bench { driver: Box::new(driver()), device: Box::new(()) }),
        good: program(0.001, [1, 1]),
        long: Some(program(0.5, [1, 1])),
        bad: vec![(program(2.0, [1, 1]), Some(0)), (program(0.1, [2, 1]), Some(0)), (program(0.1, [1, 2]), Some(2))],
        many: 50,
        patience: Duration::from_secs(10),
    };
    conformance.assert();
}

#[test]
fn the_light_is_that_of_the_lamp() {
    let mut driver = driver();
    let soon = || Deadline::after(Duration::from_secs(10));
    assert!(driver.identify(soon()).expect("it is there").is_simulated);
    driver.configure(soon()).expect("configured");
    driver.prepare(&program(0.025, [1, 1]), soon()).expect("prepared");
    let mut shots = Outcome::default();
    assert_eq!(driver.run(&RunControl::until(soon()), &mut shots), Ok(RunEnd::Complete));
    assert_eq!(shots.rows().collect::<Vec<_>>(), [[0, 25]]);
    driver.close();
}
