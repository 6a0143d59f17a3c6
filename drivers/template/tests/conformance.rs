//! The suite that every driver passes, on the simulated device.

use std::time::Duration;

use qspool_driver::testing::{Bench, Conformance};
use qspool_driver::{Deadline, Driver, Instruction, Outcome, Program, RunControl, RunEnd, WireOrder};
use qspool_template::TemplateDriver;

fn driver() -> TemplateDriver {
    TemplateDriver::new("sim:").unwrap_or_else(|error| panic!("{error}"))
}

fn program(seconds: f64, wires: [u32; 2]) -> Program {
    let instruction = |name: &str, wire: u32, params: &[f64]| Instruction {
        name: name.into(),
        wires: vec![wire],
        params: params.into(),
    };
    Program {
        instructions: vec![
            instruction("flash", wires[0], &[seconds]),
            instruction("measure", 0, &[]),
            instruction("measure", wires[1], &[]),
        ],
        num_wires: 2,
        shots: 1,
        wire_order: WireOrder::Sequential,
        seed: None,
    }
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
    assert_eq!(shots.rows().iter().map(|row| row.to_vec()).collect::<Vec<_>>(), [[0, 25]]);
    driver.close();
}
