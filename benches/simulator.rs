//! How long the simulators take: one spin, several spins, Rydberg atoms, fermions, and drawing shots.
//!
//! `cargo bench --bench simulator`. Each bench takes whole programs, as the daemon hands them over; random gates come
//! from fixed seeds. Where a task is limited by the memory, what it has to move at least is shown per second: to be held
//! against what `triad` moves on vectors as long as the state.

use std::f64::consts::TAU;

use divan::Bencher;
use divan::counter::BytesCount;
use num_complex::Complex64;
use qspool::backend::device::StopRun;
use qspool::backend::{Backend, BackendOptions, ProgressCounter, SchemaSet};
use qspool::simulator::{Prepared, Register, Shape, ShotRandom, Uniform, rydberg_products, simulator};
use qspool_driver::{Instruction, Program, StopFlag, WireOrder};
use rayon::prelude::*;

fn main() {
    divan::main();
}

fn instruction(name: &str, wires: &[u32], params: &[f64]) -> Instruction {
    Instruction { name: name.to_owned(), wires: wires.to_vec(), params: params.to_vec() }
}

fn program(num_wires: u32, instructions: Vec<Instruction>) -> Program {
    Program { instructions, num_wires, shots: 1, wire_order: WireOrder::Sequential, seed: Some(1) }
}

fn bench(bencher: Bencher, backend: &str, num_wires: u32, instructions: Vec<Instruction>) {
    let program = program(num_wires, instructions);
    let simulator = simulator(backend).expect("one of the four");
    let stop = StopFlag::default();
    bencher.bench_local(|| simulator.prepare(&program, &stop).expect("runs"));
}

/// The same for a program that moves so many bytes for each state of so many qubits.
fn bench_moving(bencher: Bencher, bytes_per_state: u64, num_wires: u32, instructions: Vec<Instruction>) {
    let program = program(num_wires, instructions);
    let simulator = simulator("rydberg").expect("one of the four");
    let stop = StopFlag::default();
    let bytes = BytesCount::new(bytes_per_state << num_wires);
    bencher.counter(bytes).bench_local(|| simulator.prepare(&program, &stop).expect("runs"));
}

/// `a = b + c x` on so many numbers, all cores: 24 bytes each.
#[divan::bench(args = [12, 16, 20, 22, 24], sample_count = 20)]
fn triad(bencher: Bencher, log_len: u32) {
    const CHUNK: usize = 1 << 12;
    let len = 1 << log_len;
    let [mut a, b, x] = [vec![0.0; len], vec![1.0; len], vec![2.0; len]];
    bencher.counter(BytesCount::new(24_u64 << log_len)).bench_local(|| {
        let act = |((a, b), x): ((&mut [f64], &[f64]), &[f64])| {
            a.iter_mut().zip(b).zip(x).for_each(|((a, b), x)| *a = b + 0.5 * x);
        };
        if len > CHUNK {
            a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).zip(x.par_chunks(CHUNK)).for_each(act);
        } else {
            act(((&mut a, &b), &x));
        }
        divan::black_box(&mut a);
    });
}

/// A whole number below `end`.
fn pick(random: &mut ShotRandom, end: u32) -> u32 {
    (0..end).rev().find(|&k| random.next_double() * f64::from(k + 1) < 1.0).unwrap_or(0)
}

fn local_gates(count: usize, num_wires: u32, names: &[&str]) -> Vec<Instruction> {
    let mut random = ShotRandom::from_seed(11);
    let mut gate = || {
        let name = names[pick(&mut random, u32::try_from(names.len()).expect("few")) as usize];
        instruction(name, &[pick(&mut random, num_wires)], &[TAU * random.next_double()])
    };
    (0..count).map(|_| gate()).collect()
}

/// One spin of 500 atoms: 100 rotations and twists.
#[divan::bench]
fn one_spin_100_gates(bencher: Bencher) {
    let mut gates = vec![instruction("load", &[0], &[500.0])];
    gates.extend(local_gates(100, 1, &["rlx", "rlz", "rlz2"]));
    bench(bencher, "singlequdit", 1, gates);
}

/// One spin of 500 atoms: drive, detuning and twist together.
#[divan::bench(args = ["1 1 1", "100 100 100", "1e6 1e6 1e4"])]
fn one_spin_full(bencher: Bencher, params: &str) {
    let params: Vec<f64> = params.split(' ').map(|param| param.parse().expect("a number")).collect();
    let gates = vec![instruction("load", &[0], &[500.0]), instruction("sq_full", &[0], &params)];
    bench(bencher, "singlequdit", 1, gates);
}

fn spins_of_15(num_wires: u32) -> Vec<Instruction> {
    let mut random = ShotRandom::from_seed(12);
    let mut gates: Vec<Instruction> = (0..num_wires).map(|wire| instruction("load", &[wire], &[15.0])).collect();
    gates.extend(local_gates(20, num_wires, &["rlx", "rlz", "rlz2"]));
    for count in 0..10 {
        let wire = pick(&mut random, num_wires - 1);
        let name = if count % 2 == 0 { "rlxly" } else { "rlzlz" };
        gates.push(instruction(name, &[wire, wire + 1], &[TAU * random.next_double()]));
    }
    gates
}

/// Spins of 15 atoms: 20 gates on single ones, 10 on neighbours.
#[divan::bench(args = [3, 4], sample_count = 10)]
fn several_spins_30_gates(bencher: Bencher, num_wires: u32) {
    bench(bencher, "multiqudit", num_wires, spins_of_15(num_wires));
}

/// Spins of 15 atoms: the whole Hamiltonian after the 30 gates.
#[divan::bench(args = [3, 4], sample_count = 3)]
fn several_spins_full(bencher: Bencher, num_wires: u32) {
    let mut gates = spins_of_15(num_wires);
    gates.push(instruction("multiqudit_full", &[0, 1], &[1.0, 0.5, 0.1, 0.02, 0.05]));
    bench(bencher, "multiqudit", num_wires, gates);
}

/// Modes at half filling: 5 rounds of 10 hops, interaction and phase.
#[divan::bench(args = [8, 16, 20, 24], sample_count = 5)]
fn fermions_60_gates(bencher: Bencher, modes: u32) {
    let occupied = (0..modes).filter(|mode| matches!(mode % 4, 0 | 1));
    let mut gates: Vec<Instruction> = occupied.map(|mode| instruction("load", &[mode], &[])).collect();
    let mut random = ShotRandom::from_seed(13);
    for _ in 0..5 {
        for _ in 0..10 {
            let first = 2 * pick(&mut random, modes / 2 - 1);
            let wires = [first, first + 1, first + 2, first + 3];
            gates.push(instruction("fhop", &wires, &[TAU * random.next_double()]));
        }
        gates.push(instruction("fint", &[], &[TAU * random.next_double()]));
        gates.push(instruction("fphase", &[0, 1], &[TAU * random.next_double()]));
    }
    bench(bencher, "fermions", modes, gates);
}

/// Modes at half filling: hops, interaction and potentials at the same time.
#[divan::bench(args = [8, 16, 20, 24], sample_count = 5)]
fn fermions_full(bencher: Bencher, modes: u32) {
    let occupied = (0..modes).filter(|mode| matches!(mode % 4, 0 | 1));
    let mut gates: Vec<Instruction> = occupied.map(|mode| instruction("load", &[mode], &[])).collect();
    let sites = modes as usize / 2;
    gates.push(instruction("fhubbard", &[], &[vec![1.0; sites - 1], vec![4.0], vec![0.5; sites]].concat()));
    bench(bencher, "fermions", modes, gates);
}

/// A job of 1000 experiments, each with 20 gates and 1000 shots: from its text to the text of its result.
#[divan::bench(args = ["fermions", "rydberg", "singlequdit"], sample_count = 5)]
fn thousand_experiments(bencher: Bencher, backend: &str) {
    let mut random = ShotRandom::from_seed(15);
    let (num_wires, order) = match backend {
        "fermions" => (8, "interleaved"),
        "rydberg" => (5, "sequential"),
        _ => (1, "sequential"),
    };
    let mut gate = |count: usize| {
        let angle = TAU * random.next_double();
        match (backend, count % 3) {
            ("fermions", 0) => r#"["fint", [0, 1, 2, 3, 4, 5, 6, 7], [ANGLE]]"#.to_owned(),
            ("fermions", _) => {
                let first = 2 * pick(&mut random, 3);
                format!(r#"["fhop", [{first}, {}, {}, {}], [ANGLE]]"#, first + 1, first + 2, first + 3)
            }
            ("rydberg", 0) => r#"["rydberg_full", [0, 1, 2, 3, 4], [ANGLE, ANGLE, ANGLE]]"#.to_owned(),
            (_, 1) => format!(r#"["rlx", [{}], [ANGLE]]"#, pick(&mut random, num_wires)),
            (_, 2) => format!(r#"["rlz", [{}], [ANGLE]]"#, pick(&mut random, num_wires)),
            _ => r#"["sq_full", [0], [ANGLE, ANGLE, ANGLE]]"#.to_owned(),
        }
        .replace("ANGLE", &angle.to_string())
    };
    let mut experiment = |number: usize| {
        let loads = match backend {
            "fermions" => [0, 1, 4, 5].map(|mode| format!(r#"["load", [{mode}], []], "#)).concat(),
            "singlequdit" => r#"["load", [0], [50]], "#.to_owned(),
            _ => String::new(),
        };
        let gates: Vec<String> = (0..20).map(&mut gate).collect();
        let measures: Vec<String> = (0..num_wires).map(|wire| format!(r#"["measure", [{wire}], []]"#)).collect();
        format!(
            r#""experiment_{number}": {{"instructions": [{loads}{}, {}], "num_wires": {num_wires}, "shots": 1000,
            "wire_order": "{order}", "seed": {number}}}"#,
            gates.join(", "),
            measures.join(", ")
        )
    };
    let job = format!("{{{}}}", (0..1000).map(&mut experiment).collect::<Vec<_>>().join(", "));
    let name = backend.parse().expect("a name");
    let schemas = SchemaSet::load(None).expect("built in");
    let backend = Backend::open(&name, &BackendOptions::default(), &schemas).expect("built in");
    let id = "1a2b3c".parse().expect("an id");
    bencher.bench_local(|| {
        let prepared = backend.prepare(job.as_bytes()).expect("valid");
        backend.run(&id, &prepared, &StopRun::default(), &ProgressCounter::default()).expect("runs")
    });
}

/// Rydberg atoms under drive, detuning and blockade.
///
/// A product reads a vector and the diagonal, and reads and writes two others: 48 bytes for each state.
#[divan::bench(args = [5, 8, 10, 12, 16, 20, 22], sample_count = 3)]
fn rydberg_full(bencher: Bencher, num_wires: u32) {
    let gates = vec![instruction("rydberg_full", &[], &[TAU, 1.0, 10.0])];
    let products = rydberg_products(&program(num_wires, gates.clone()), &StopFlag::default()).expect("runs");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of products")]
    let bytes_per_state = 48 * products as u64;
    bench_moving(bencher, bytes_per_state, num_wires, gates);
}

/// Five Rydberg atoms: the cost does not depend on the parameters.
#[divan::bench(args = [1.0, 1e3, 1.5e7])]
fn rydberg_full_of_five(bencher: Bencher, size: f64) {
    bench(bencher, "rydberg", 5, vec![instruction("rydberg_full", &[], &[size, size, size])]);
}

/// Rydberg atoms at parameters that only diagonalisation can do.
#[divan::bench(args = [8, 10], sample_count = 1)]
fn rydberg_full_by_diagonalisation(bencher: Bencher, num_wires: u32) {
    bench(bencher, "rydberg", num_wires, vec![instruction("rydberg_full", &[], &[1.5e7; 3])]);
}

/// 100 rotations of qubits.
///
/// The state is made, and read and written once for the 12 fastest qubits and once for each 4 others.
#[divan::bench(args = [5, 10, 16, 20, 24], sample_count = 5)]
fn qubits_100_gates(bencher: Bencher, num_wires: u32) {
    let passes = 1 + u64::from(num_wires.saturating_sub(12).div_ceil(4));
    bench_moving(bencher, 16 + 32 * passes, num_wires, local_gates(100, num_wires, &["rlx", "rlz"]));
}

/// A million seeded shots from a random state.
#[divan::bench(args = [16, 20], sample_count = 5)]
fn million_shots(bencher: Bencher, num_wires: usize) {
    let shape = Shape::new(vec![2; num_wires]).expect("small");
    let mut random = ShotRandom::from_seed(14);
    let mut psi: Vec<Complex64> =
        (0..shape.states()).map(|_| Complex64::new(random.next_double() - 0.5, random.next_double() - 0.5)).collect();
    let norm = psi.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
    for amplitude in &mut psi {
        *amplitude /= norm;
    }
    let register = Register::from_amplitudes(shape, psi);
    let measured: Vec<usize> = (0..num_wires).collect();
    bencher
        .with_inputs(|| Prepared { state: register.clone().into(), measured: measured.clone(), drawn_before: 0 })
        .bench_local_values(|prepared| {
            prepared.sample(1_000_000, &mut ShotRandom::from_seed(1), &StopFlag::default()).expect("not stopped")
        });
}
