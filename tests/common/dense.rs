//! A slow twin of the simulators, for small registers: each gate as a sum of Kronecker products of one-wire matrices,
//! applied by its Taylor series in short steps. Written from the definitions, with nothing of the simulators in it.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "levels and atoms are small whole numbers"
)]

use std::collections::BTreeMap;

use num_complex::Complex64;
use qspool_driver::{Instruction, Program};

/// A square matrix by its non-zero elements.
#[derive(Debug, Clone)]
struct Matrix {
    dim: usize,
    elements: BTreeMap<(usize, usize), Complex64>,
}

impl Matrix {
    fn new(dim: usize, element: impl Fn(usize, usize) -> Complex64) -> Self {
        let pairs = (0..dim).flat_map(|row| (0..dim).map(move |column| (row, column)));
        let elements = pairs.map(|(row, column)| ((row, column), element(row, column)));
        Self { dim, elements: elements.filter(|(_, value)| value.norm_sqr() > 0.0).collect() }
    }

    fn diagonal(dim: usize, element: impl Fn(usize) -> f64) -> Self {
        Self::new(dim, |row, column| if row == column { element(row).into() } else { Complex64::ZERO })
    }

    fn zero(dim: usize) -> Self {
        Self { dim, elements: BTreeMap::new() }
    }

    fn kronecker(&self, right: &Self) -> Self {
        let mut product = Self::zero(self.dim * right.dim);
        for (&(row, column), value) in &self.elements {
            for (&(right_row, right_column), right_value) in &right.elements {
                let place = (row * right.dim + right_row, column * right.dim + right_column);
                product.elements.insert(place, value * right_value);
            }
        }
        product
    }

    fn times(&self, right: &Self) -> Self {
        let mut product = Self::zero(self.dim);
        for (&(row, inner), value) in &self.elements {
            for (&(_, column), right_value) in right.elements.range((inner, 0)..(inner + 1, 0)) {
                *product.elements.entry((row, column)).or_default() += value * right_value;
            }
        }
        product
    }

    fn plus(mut self, other: &Self) -> Self {
        for (&place, value) in &other.elements {
            *self.elements.entry(place).or_default() += value;
        }
        self
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.elements.values_mut().for_each(|value| *value *= factor);
        self
    }

    fn adjoint(&self) -> Self {
        let elements = self.elements.iter().map(|(&(row, column), value)| ((column, row), value.conj())).collect();
        Self { dim: self.dim, elements }
    }

    fn with_adjoint(self) -> Self {
        let adjoint = self.adjoint();
        self.plus(&adjoint)
    }

    fn applied_to(&self, psi: &[Complex64]) -> Vec<Complex64> {
        let mut image = vec![Complex64::ZERO; self.dim];
        for (&(row, column), value) in &self.elements {
            image[row] += value * psi[column];
        }
        image
    }

    /// `exp(-i H) ψ`, for a Hermitian `H`.
    fn propagate(&self, psi: &mut [Complex64]) {
        let mut sums = vec![0.0; self.dim];
        for (&(row, _), value) in &self.elements {
            sums[row] += value.norm();
        }
        let steps = sums.iter().fold(0.0_f64, |most, &sum| most.max(sum)).ceil().max(1.0);
        let mut step = 0.0;
        while step < steps {
            let mut term = psi.to_vec();
            for order in 1..30 {
                let factor = -Complex64::I / (steps * f64::from(order));
                term = self.applied_to(&term);
                for element in &mut term {
                    *element *= factor;
                }
                psi.iter_mut().zip(&term).for_each(|(sum, element)| *sum += element);
            }
            step += 1.0;
        }
    }
}

/// `local[w]` on its wire, one elsewhere.
fn on_wires(dims: &[usize], local: &[(usize, &Matrix)]) -> Matrix {
    let mut product = Matrix::diagonal(1, |_| 1.0);
    for (wire, &dim) in dims.iter().enumerate() {
        let mut here = Matrix::diagonal(dim, |_| 1.0);
        for (_, matrix) in local.iter().filter(|(at, _)| *at == wire) {
            here = here.times(matrix);
        }
        product = product.kronecker(&here);
    }
    product
}

/// `Lx`, `Ly`, `Lz` of a spin with `dim` levels, with the signs of the contract.
fn spin(dim: usize) -> [Matrix; 3] {
    let n = dim as f64 - 1.0;
    let b = |k: usize| 0.5 * ((k as f64 + 1.0) * (n - k as f64)).sqrt();
    let ladder = |row: usize, column: usize, upper: Complex64, lower: Complex64| {
        if column == row + 1 {
            upper * b(row)
        } else if row == column + 1 {
            lower * b(column)
        } else {
            Complex64::ZERO
        }
    };
    [
        Matrix::new(dim, |row, column| ladder(row, column, 1.0.into(), 1.0.into())),
        Matrix::new(dim, |row, column| ladder(row, column, Complex64::I, -Complex64::I)),
        Matrix::diagonal(dim, |k| n / 2.0 - k as f64),
    ]
}

struct Spins<'a> {
    dims: &'a [usize],
}

impl Spins<'_> {
    fn on(&self, wire: usize, axis: usize) -> Matrix {
        on_wires(self.dims, &[(wire, &spin(self.dims[wire])[axis])])
    }

    fn square(&self, wire: usize) -> Matrix {
        let z = self.on(wire, 2);
        z.times(&z)
    }

    /// `L+_a L-_b + L-_a L+_b = 2 (Lx Lx + Ly Ly)`.
    fn hop(&self, [a, b]: [usize; 2]) -> Matrix {
        let product = |axis| self.on(a, axis).times(&self.on(b, axis));
        product(0).plus(&product(1)).scaled(2.0)
    }

    fn ising(&self, [a, b]: [usize; 2]) -> Matrix {
        self.on(a, 2).times(&self.on(b, 2))
    }

    fn sum(&self, parts: impl Iterator<Item = Matrix>) -> Matrix {
        parts.fold(Matrix::zero(self.dims.iter().product()), |sum, part| sum.plus(&part))
    }

    fn on_all(&self, axis: usize) -> Matrix {
        self.sum((0..self.dims.len()).map(|wire| self.on(wire, axis)))
    }

    fn squares(&self) -> Matrix {
        self.sum((0..self.dims.len()).map(|wire| self.square(wire)))
    }

    fn chain(&self, pair: impl Fn([usize; 2]) -> Matrix) -> Matrix {
        self.sum((1..self.dims.len()).map(|wire| pair([wire - 1, wire])))
    }

    fn blockade(&self) -> Matrix {
        let excited = Matrix::diagonal(2, |k| k as f64);
        let pairs = (0..self.dims.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let term = |(i, j): (usize, usize)| {
            on_wires(self.dims, &[(i, &excited), (j, &excited)]).scaled(1.0 / ((j - i) as f64).powi(6))
        };
        self.sum(pairs.map(term))
    }
}

fn spin_hamiltonian(instruction: &Instruction, dims: &[usize]) -> Option<Matrix> {
    let spins = Spins { dims };
    let wires: Vec<usize> = instruction.wires.iter().map(|&wire| wire as usize).collect();
    let p = &instruction.params;
    let matrix = match instruction.name.as_str() {
        "rlx" => spins.on(wires.first().copied().unwrap_or(0), 0).scaled(p[0]),
        // The gate of clients, with the usual sign of Ly.
        "rly" => spins.on(wires[0], 1).scaled(-p[0]),
        "rlz" => spins.on(wires.first().copied().unwrap_or(0), 2).scaled(p[0]),
        "rlz2" => spins.square(wires.first().copied().unwrap_or(0)).scaled(p[0]),
        "rlxly" if wires.len() == 2 => spins.hop([wires[0], wires[1]]).scaled(p[0]),
        "rlxly" => spins.chain(|pair| spins.hop(pair)).scaled(p[0]),
        "rlzlz" if wires.len() == 2 => spins.ising([wires[0], wires[1]]).scaled(p[0]),
        "rlzlz" => spins.chain(|pair| spins.ising(pair)).scaled(p[0]),
        "sq_full" | "multiqudit_full" => {
            let local = spins.on_all(0).scaled(p[0]).plus(&spins.on_all(2).scaled(p[1]));
            let local = local.plus(&spins.squares().scaled(p[2]));
            if p.len() == 3 {
                local
            } else {
                let hops = spins.chain(|pair| spins.hop(pair)).scaled(p[3]);
                local.plus(&hops).plus(&spins.chain(|pair| spins.ising(pair)).scaled(p[4]))
            }
        }
        "rydberg_block" => spins.blockade().scaled(p[0]),
        "rydberg_full" => {
            spins.on_all(0).scaled(p[0]).plus(&spins.on_all(2).scaled(p[1])).plus(&spins.blockade().scaled(p[2]))
        }
        _ => return None,
    };
    Some(matrix)
}

/// `c_j` on eight modes: `Z ⊗ … ⊗ Z ⊗ c ⊗ 1 ⊗ … ⊗ 1`.
fn annihilator(mode: usize) -> Matrix {
    let parity = Matrix::diagonal(2, |occupied| if occupied == 1 { -1.0 } else { 1.0 });
    let lower = Matrix::new(2, |row, column| if (row, column) == (0, 1) { 1.0.into() } else { Complex64::ZERO });
    let mut local: Vec<(usize, &Matrix)> = (0..mode).map(|before| (before, &parity)).collect();
    local.push((mode, &lower));
    on_wires(&[2; 8], &local)
}

fn number(mode: usize) -> Matrix {
    annihilator(mode).adjoint().times(&annihilator(mode))
}

fn fermion_hamiltonian(instruction: &Instruction) -> Option<Matrix> {
    let wires: Vec<usize> = instruction.wires.iter().map(|&wire| wire as usize).collect();
    let hop = |to: usize, from: usize| annihilator(to).adjoint().times(&annihilator(from)).with_adjoint();
    let sum = |parts: Vec<Matrix>| parts.iter().fold(Matrix::zero(256), Matrix::plus);
    let interaction = || sum((0..4).map(|site| number(2 * site).times(&number(2 * site + 1))).collect());
    let matrix = match instruction.name.as_str() {
        "fhubbard" => {
            let (hops, potentials) = (&instruction.params[..3], &instruction.params[4..]);
            let between = |site: usize| hop(2 * site, 2 * site + 2).plus(&hop(2 * site + 1, 2 * site + 3));
            let on = |site: usize| number(2 * site).plus(&number(2 * site + 1));
            let mut parts = vec![interaction().scaled(instruction.params[3])];
            parts.extend(hops.iter().enumerate().map(|(site, strength)| between(site).scaled(-strength)));
            parts.extend(potentials.iter().enumerate().map(|(site, &strength)| on(site).scaled(strength)));
            return Some(sum(parts));
        }
        "fhop" => hop(wires[0], wires[2]).plus(&hop(wires[1], wires[3])),
        "fint" => interaction(),
        "fphase" => sum(wires.into_iter().map(number).collect()),
        _ => return None,
    };
    Some(matrix.scaled(instruction.params[0]))
}

/// The amplitudes of all states after `program` on `backend`, and the levels of the wires.
pub(crate) fn amplitudes(backend: &str, program: &Program) -> (Vec<usize>, Vec<Complex64>) {
    let ground = |dims: &[usize]| {
        let mut psi = vec![Complex64::ZERO; dims.iter().product()];
        psi[0] = Complex64::ONE;
        psi
    };
    let mut dims = match backend {
        "fermions" => vec![2; 8],
        "singlequdit" => vec![2],
        _ => vec![2; program.num_wires as usize],
    };
    let atoms = |load: &Instruction| load.params[0] as usize;
    if backend == "multiqudit" {
        for load in program.instructions.iter().filter(|instruction| instruction.name == "load") {
            dims[load.wires[0] as usize] = atoms(load) + 1;
        }
    }
    let mut psi = ground(&dims);
    for instruction in &program.instructions {
        let hamiltonian = match (backend, instruction.name.as_str()) {
            ("singlequdit", "load") => {
                dims = vec![atoms(instruction) + 1];
                psi = ground(&dims);
                None
            }
            ("fermions", "load") => {
                psi = annihilator(instruction.wires[0] as usize).adjoint().applied_to(&psi);
                None
            }
            ("fermions", _) => fermion_hamiltonian(instruction),
            _ => spin_hamiltonian(instruction, &dims),
        };
        if let Some(hamiltonian) = hamiltonian {
            hamiltonian.propagate(&mut psi);
        }
    }
    (dims, psi)
}
