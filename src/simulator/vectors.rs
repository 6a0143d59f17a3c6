//! Real vectors: their sums and products, and the vector units that kernels are made for.

#![expect(
    clippy::inline_always,
    reason = "what is not part of the function that is made for a vector unit does not use it"
)]

use pulp::Arch;

/// The vector units of this machine.
pub(crate) fn vector_units() -> Arch {
    #[cfg(test)]
    if tests::ARE_OFF.load(std::sync::atomic::Ordering::Relaxed) {
        return Arch::Scalar;
    }
    Arch::new()
}

/// `y += a x`, as long as the shorter of the two.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f64], x: &[f64], a: f64) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// The scalar product, in eight sums that do not wait for each other.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use qspool_driver::{Instruction, Program, StopFlag, WireOrder};

    use crate::simulator::{Double, Eigenbasis, simulator};

    /// Tests that run at the same time may see it: to them it makes no difference.
    pub(super) static ARE_OFF: AtomicBool = AtomicBool::new(false);

    fn amplitudes(backend: &str, num_wires: u32, gates: &[(&str, &[u32], &[f64])]) -> Vec<u64> {
        let gate = |&(name, wires, params): &(&str, &[u32], &[f64])| Instruction {
            name: name.to_owned(),
            wires: wires.to_vec(),
            params: params.to_vec(),
        };
        let instructions = gates.iter().map(gate).collect();
        let program = Program { instructions, num_wires, shots: 1, wire_order: WireOrder::Sequential, seed: Some(1) };
        let prepared = simulator(backend).expect("one of the four").prepare(&program, &StopFlag::default());
        let amplitudes = prepared.expect("runs").state.amplitudes();
        amplitudes.iter().flat_map(|amplitude| [amplitude.re.to_bits(), amplitude.im.to_bits()]).collect()
    }

    fn everything() -> Vec<Vec<u64>> {
        let double = |k: i32| Double::from(f64::from(k * k % 17) - 8.0);
        let [diagonal, beside]: [Vec<Double>; 2] = [(0..131).map(double).collect(), (0..130).map(double).collect()];
        let basis = Eigenbasis::tridiagonal(&diagonal, &beside, &StopFlag::default()).expect("converges");
        let bits = |value: &Double| [value.parts().0.to_bits(), value.parts().1.to_bits()];
        let turns: Vec<[u32; 1]> = (0..15).map(|wire| [wire]).collect();
        let turns: Vec<(&str, &[u32], &[f64])> = turns.iter().map(|wire| ("rlx", &wire[..], &[0.7][..])).collect();
        let loads: [(&str, &[u32], &[f64]); 3] = [("load", &[0], &[]), ("load", &[1], &[]), ("load", &[5], &[])];
        vec![
            basis.values().iter().flat_map(bits).collect(),
            basis.vectors().flatten().map(|component| component.to_bits()).collect(),
            amplitudes("rydberg", 15, &[&turns[..], &[("rydberg_full", &[], &[0.3, 0.1, 1.0])]].concat()),
            amplitudes(
                "multiqudit",
                3,
                &[
                    ("load", &[0], &[9.0]),
                    ("load", &[1], &[11.0]),
                    ("load", &[2], &[14.0]),
                    ("multiqudit_full", &[0, 1, 2], &[1.0, 0.5, 0.1, 0.02, 0.05]),
                ],
            ),
            amplitudes(
                "fermions",
                12,
                &[&loads[..], &[("fhop", &[0, 1, 2, 3], &[0.4]), ("fint", &[], &[2.0])]].concat(),
            ),
            amplitudes(
                "fermions",
                12,
                &[&loads[..], &[("fhubbard", &[], &[1., 0.5, 0.2, 2.0, 1.0, 3.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])]]
                    .concat(),
            ),
        ]
    }

    #[test]
    fn they_change_no_bit_of_any_result() {
        let with = everything();
        ARE_OFF.store(true, Ordering::Relaxed);
        let without = everything();
        ARE_OFF.store(false, Ordering::Relaxed);
        assert!(with == without);
    }
}
