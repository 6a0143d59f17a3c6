//! The size of a register as the backends count it.

use qspool_driver::Program;

/// The number of states of `program`'s register: each loaded wire counts its atoms, each other wire 2.
///
/// This is the peers' rule: the product of the numbers of atoms over all instructions called `load`, times 2 to the
/// power of `num_wires` less the number of those instructions, which may be negative. Several loads of one wire thus
/// count several times. Exact up to 2^53, else within 1e-12 (relative); beyond 2^1000 any value at least as large.
pub(super) fn counted_states(program: &Program, load: &str) -> f64 {
    /// Where the running product is scaled down; a power of two, so that scaling is exact.
    const LARGE_EXPONENT: i32 = 512;
    let large = 2_f64.powi(LARGE_EXPONENT);
    let mut product = 1.0;
    let mut exponent = i64::from(program.num_wires);
    for instruction in program.instructions.iter().filter(|instruction| instruction.name == load) {
        product *= instruction.params.first().copied().unwrap_or(1.0);
        exponent -= 1;
        if product >= large {
            product /= large;
            exponent += i64::from(LARGE_EXPONENT);
        }
    }
    product * 2_f64.powi(i32::try_from(exponent.clamp(-1000, 1000)).expect("clamped to four digits"))
}

#[cfg(test)]
mod tests {
    use qspool_driver::{Instruction, WireOrder};

    use super::*;

    fn states(num_wires: u32, loads: &[f64]) -> f64 {
        let load = |&atoms: &f64| Instruction { name: "load".into(), wires: vec![0], params: vec![atoms] };
        let instructions = loads.iter().map(load).collect();
        let program = Program { instructions, num_wires, shots: 1, wire_order: WireOrder::default(), seed: None };
        counted_states(&program, "load")
    }

    fn check(num_wires: u32, loads: &[f64], expected: f64) {
        let counted = states(num_wires, loads);
        assert!(counted.total_cmp(&expected).is_eq(), "{num_wires} wires, {loads:?}: {counted}, not {expected}");
    }

    #[test]
    fn a_loaded_wire_counts_its_atoms_and_others_two() {
        check(5, &[], 32.0);
        check(2, &[64.0, 64.0], 4096.0);
        check(2, &[241.0, 17.0], 4097.0);
        check(5, &[500.0; 5], 3.125e13);
        check(5, &[3.0], 48.0);
    }

    #[test]
    fn repeated_loads_neither_overflow_nor_vanish() {
        assert!(states(5, &vec![500.0; 10_000]) > 1e300);
        assert!(states(1, &vec![1.0; 10_000]) < 1e-300);
        let balanced: Vec<f64> = [vec![4.0; 5000], vec![1.0; 5000]].concat();
        check(5, &balanced, 32.0);
        let balanced: Vec<f64> = [vec![1.0; 5000], vec![4.0; 5000]].concat();
        check(5, &balanced, 32.0);
    }
}
