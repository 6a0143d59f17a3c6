//! The boards pass the suite that every driver passes, over real pseudo-terminals.

mod common;

use std::time::Duration;

use common::{Case, dds_sweeper, prawnblaster, prawndo, run};
use qspool_driver::testing::{Bench, Conformance};

fn assert_keeps_the_contract(case: &Case) {
    let conformance = Conformance {
        bench: Box::new(|| {
            let bed = (case.plug)();
            Bench { driver: (case.driver)(bed.plug.link()), device: Box::new(bed) }
        }),
        good: case.good.clone(),
        long: Some(case.long.clone()),
        bad: case.bad.clone(),
        many: 20,
        patience: Duration::from_secs(10),
    };
    conformance.assert();
}

#[test]
fn the_prawnblaster_keeps_the_contract() {
    assert_keeps_the_contract(&prawnblaster());
}

#[test]
fn the_prawndo_keeps_the_contract() {
    assert_keeps_the_contract(&prawndo());
}

#[test]
fn the_dds_sweeper_keeps_the_contract() {
    assert_keeps_the_contract(&dds_sweeper());
}

#[test]
fn what_is_measured_is_what_the_board_has_done() {
    // A wait of 100 us that nothing ends, in cycles of 10 ns; the level of an output; two rows.
    for (case, value) in [(prawnblaster(), 10_000), (prawndo(), 1), (dds_sweeper(), 2)] {
        let (mut driver, _bed) = common::bench(&case);
        let program = qspool_driver::Program { shots: 2, ..case.good.clone() };
        assert_eq!(run(&mut *driver, &program), Ok(vec![vec![value]; 2]), "{}", case.name);
    }
}
