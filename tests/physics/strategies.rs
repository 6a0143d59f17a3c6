//! Random programs of each simulator.

use std::f64::consts::TAU;

use proptest::prelude::*;
use qspool_driver::{Instruction, Program};

use crate::programs::{instruction, program};

pub(crate) fn angle() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0..TAU, 1 => -TAU..0.0, 1 => Just(0.0), 1 => 0.0..1e-3]
}

pub(crate) fn angles(count: usize) -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(angle(), count)
}

pub(crate) fn gate(
    name: &'static str,
    wires: impl Strategy<Value = Vec<u32>> + 'static,
    params: usize,
) -> BoxedStrategy<Instruction> {
    (wires, angles(params)).prop_map(move |(wires, params)| instruction(name, &wires, &params)).boxed()
}

pub(crate) fn one_of(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    (0..wires).prop_map(|wire| vec![wire])
}

pub(crate) fn two_of(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    (0..wires, 0..wires).prop_filter("different", |(a, b)| a != b).prop_map(|(a, b)| vec![a, b])
}

pub(crate) fn all(wires: u32) -> impl Strategy<Value = Vec<u32>> {
    Just((0..wires.max(3)).collect())
}

pub(crate) fn load(wire: u32, most: u32) -> BoxedStrategy<Instruction> {
    (1..=most).prop_map(move |atoms| instruction("load", &[wire], &[f64::from(atoms)])).boxed()
}

pub(crate) fn with_gates(
    num_wires: u32,
    loads: Vec<BoxedStrategy<Instruction>>,
    gates: Vec<BoxedStrategy<Instruction>>,
) -> BoxedStrategy<Program> {
    let gates = proptest::collection::vec(proptest::strategy::Union::new(gates), 1..8);
    let program = move |(loads, gates): (Vec<Instruction>, Vec<Instruction>)| Program {
        instructions: loads.into_iter().chain(gates).collect(),
        ..program(num_wires, &[])
    };
    (loads, gates).prop_map(program).boxed()
}

pub(crate) fn singlequdit_programs(atoms: u32) -> BoxedStrategy<Program> {
    let gates = vec![
        gate("rlx", one_of(1), 1),
        gate("rlz", one_of(1), 1),
        gate("rlz2", one_of(1), 1),
        gate("sq_full", one_of(1), 3),
        gate("barrier", one_of(1), 0),
    ];
    with_gates(1, vec![load(0, atoms)], gates)
}

pub(crate) fn multiqudit_programs(atoms: &'static [u32]) -> BoxedStrategy<Program> {
    let num_wires = u32::try_from(atoms.len()).expect("small");
    let mut gates = vec![
        gate("rlx", one_of(num_wires), 1),
        gate("rly", one_of(num_wires), 1),
        gate("rlz", one_of(num_wires), 1),
        gate("rlz2", one_of(num_wires), 1),
        gate("rlxly", all(num_wires), 1),
        gate("rlzlz", all(num_wires), 1),
        gate("multiqudit_full", all(num_wires), 5),
    ];
    if num_wires > 1 {
        gates.push(gate("rlxly", two_of(num_wires), 1));
        gates.push(gate("rlzlz", two_of(num_wires), 1));
    }
    let loads = atoms.iter().enumerate().map(|(wire, &most)| load(u32::try_from(wire).expect("small"), most));
    with_gates(num_wires, loads.collect(), gates)
}

pub(crate) fn rydberg_programs(num_wires: u32) -> BoxedStrategy<Program> {
    let gates = vec![
        gate("rlx", one_of(num_wires), 1),
        gate("rlz", one_of(num_wires), 1),
        gate("rydberg_block", all(num_wires), 1),
        gate("rydberg_full", all(num_wires), 3),
    ];
    with_gates(num_wires, Vec::new(), gates)
}

/// With gates that lead from one spin to the other, or without.
pub(crate) fn fermion_programs(crosses: bool) -> BoxedStrategy<Program> {
    let wires = || Just((0..8_u32).collect::<Vec<_>>()).prop_shuffle();
    let of_one_spin = |spin: u32| {
        let modes = Just((0..4_u32).map(|site| 2 * site + spin).collect::<Vec<_>>()).prop_shuffle();
        // The same mode twice, at times.
        (modes, 0..6_usize).prop_map(|(modes, same)| [modes[0], if same == 0 { modes[0] } else { modes[1] }])
    };
    let pairs = (of_one_spin(0), of_one_spin(1), 0..2_u32).prop_map(|([a, c], [b, d], turned)| match turned {
        0 => vec![a, b, c, d],
        _ => vec![b, a, d, c],
    });
    let hops = if crosses { wires().prop_map(|wires| wires[..4].to_vec()).boxed() } else { pairs.boxed() };
    let gates = vec![
        gate("fhop", hops, 1),
        gate("fhubbard", Just((0..8).collect()), 8),
        gate("fhop", Just(vec![2, 3, 4, 5]), 1),
        gate("fint", Just((0..8).collect()), 1),
        gate("fphase", proptest::collection::vec(0..8_u32, 1..4), 1),
    ];
    let loads = (wires(), 0..=8_usize).prop_map(|(modes, count)| {
        modes[..count].iter().map(|&mode| instruction("load", &[mode], &[])).collect::<Vec<_>>()
    });
    (loads, with_gates(8, Vec::new(), gates))
        .prop_map(|(loads, program)| Program { instructions: [loads, program.instructions].concat(), ..program })
        .boxed()
}
