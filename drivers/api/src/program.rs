//! What is to be run.

/// One step of a program: a gate, a load, a barrier or a measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    /// The name under which the backend's schema describes the instruction, for example `rlx`.
    pub name: String,
    /// The wires it acts on, in the order given by the user; wire 0 is the first.
    pub wires: Vec<u32>,
    /// Its parameters in the order of the schema; always finite. Gates take angles in radians, `load` a number of atoms.
    pub params: Vec<f64>,
}

/// How the wires of a register with several species are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WireOrder {
    /// All wires of the first species, then all of the second.
    #[default]
    Sequential,
    /// The species take turns: site 0 of each species, then site 1 of each.
    Interleaved,
}

/// One experiment, checked against the backend's schema: instructions on a register, repeated for a number of shots.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The instructions in the order in which they act.
    pub instructions: Vec<Instruction>,
    /// The size of the register that the user asked for; at least 1.
    pub num_wires: u32,
    /// The number of repetitions; at least 1.
    pub shots: u32,
    /// The numbering of the wires.
    pub wire_order: WireOrder,
    /// The seed of the shots of a simulator; without one they are drawn from true entropy. Devices ignore it.
    pub seed: Option<u32>,
}

impl Program {
    /// How many values one shot has: one per measured wire. A `measure` that names no wire measures the only one.
    pub fn measured_values(&self) -> usize {
        let measures = self.instructions.iter().filter(|instruction| instruction.name == "measure");
        measures.map(|measure| measure.wires.len().max(1)).sum()
    }
}
