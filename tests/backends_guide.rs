//! The example of `docs/backends.md`: the page shows what is compiled and run here.

#[path = "backends_guide/oscillator.rs"]
mod oscillator;

use std::fs;
use std::path::Path;

use oscillator::Oscillator;
use qspool::schema::BackendSchema;
use qspool::simulator::{ShotRandom, Simulator};
use qspool_driver::{Instruction, Program, StopFlag, WireOrder};

/// Name and parameters of an instruction.
type Gate<'a> = (&'a str, &'a [f64]);

fn program(gates: &[Gate]) -> Program {
    let instruction =
        |&(name, params): &Gate| Instruction { name: name.into(), wires: vec![0], params: params.to_vec() };
    let instructions = gates.iter().map(instruction).collect();
    Program { instructions, num_wires: 1, shots: 20, wire_order: WireOrder::Sequential, seed: Some(1) }
}

fn probabilities(gates: &[Gate]) -> Vec<f64> {
    Oscillator.prepare(&program(gates), &StopFlag::default()).expect("runs").probabilities()
}

fn check_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
}

#[test]
fn the_page_shows_the_files() {
    let read = |path: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let page = read("docs/backends.md");
    for (path, language) in [("oscillator.rs", "rust"), ("oscillator.json", "json")] {
        let block = format!("```{language}\n{}```\n", read(&format!("tests/backends_guide/{path}")));
        assert!(page.contains(&block), "docs/backends.md does not show tests/backends_guide/{path} as it is");
    }
}

#[test]
fn a_driven_oscillator_has_a_poisson_distribution() {
    let theta = 1.7_f64;
    let found = probabilities(&[("drive", &[theta])]);
    let mut expected = (-theta * theta).exp();
    for (n, found) in (0_u32..).zip(found).take(40) {
        check_close(found, expected);
        expected *= theta * theta / f64::from(n + 1);
    }
    // One quantum, driven: the overlap with none is that of a shifted state.
    check_close(probabilities(&[("load", &[1.0]), ("drive", &[theta])])[0], theta * theta * (-theta * theta).exp());
}

#[test]
fn a_phase_of_half_a_turn_takes_the_drive_back() {
    let half_turn = [std::f64::consts::PI];
    check_close(probabilities(&[("drive", &[1.2]), ("phase", &half_turn), ("drive", &[1.2])])[0], 1.0);
    // n² is odd where n is odd.
    check_close(probabilities(&[("drive", &[1.2]), ("kerr", &half_turn), ("drive", &[1.2])])[0], 1.0);
}

#[test]
fn the_schema_takes_a_job_and_the_simulator_runs_it() {
    let schema = BackendSchema::parse(include_str!("backends_guide/oscillator.json")).expect("a schema");
    assert_eq!(schema.simulator(), Some("oscillator"));
    let job = |instruction: &str| {
        format!(
            r#"{{"experiment_0": {{"instructions": [{instruction}, ["measure", [0], []]], "num_wires": 1, "shots": 3}}}}"#
        )
    };
    let job_text = job(r#"["load", [0], [5]], ["kerr", [0], [1.5]]"#);
    let valid = schema.validate(job_text.as_bytes()).expect("a valid job");
    let program = &valid.experiments[0].program;
    let outcome = Oscillator.run(program, &mut ShotRandom::from_seed(1), &StopFlag::default()).expect("runs");
    assert_eq!((outcome.rows().collect(), outcome.shots()), (vec![&[5_i64][..]], &[0, 0, 0][..]));
    let rejection = schema.validate(job(r#"["load", [0], [101]]"#).as_bytes()).expect_err("too many quanta");
    assert!(rejection.to_string().contains("instruction 0 (load)"), "{rejection}");
}

#[test]
fn the_oscillator_runs_like_any_simulator() {
    let program = program(&[("load", &[7.0]), ("phase", &[0.3]), ("measure", &[])]);
    let outcome = Oscillator.run(&program, &mut ShotRandom::from_seed(1), &StopFlag::default()).expect("runs");
    assert_eq!(outcome.rows().collect::<Vec<_>>(), [[7]]);
    assert_eq!(outcome.shots(), [0; 20]);
    assert_eq!(Oscillator.value_digits(&program), 3);
    assert!(Oscillator.memory(&program) > 101 * 101 * 8);
}
