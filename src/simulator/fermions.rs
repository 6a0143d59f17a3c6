//! Fermions in tweezers: `load`, `fhop`, `fint`, `fphase`, `fhubbard`, `frx`, `fry`, `frz` on modes, two per site.

use qspool_driver::{Program, StopFlag};

use super::double::Double;
use super::error::{Problem, SimulationError};
use super::fermi::{self, FermionState, ModeOrder};
use super::hopping::hop;
use super::hubbard::Hubbard;
use super::instruction::{Step, measured_wires};
use super::register::Shape;
use super::registry::Simulator;
use super::sampling::Prepared;

/// The simulator of sites with two modes each: four sites, or as many as a program has wires for.
pub(super) struct Fermions;

/// The modes that there are at least, however few a program speaks of.
const MODES: usize = 8;

impl Simulator for Fermions {
    fn shape(&self, program: &Program) -> Result<Shape, SimulationError> {
        fermi::modes(MODES.max((program.num_wires as usize).next_multiple_of(2)))
    }

    fn states(&self, program: &Program, shape: &Shape) -> u64 {
        let modes = order(program).sides(shape.num_wires());
        fillings(program, shape).map(|fermions| fermi::states(modes, fermions)).max().unwrap_or(1)
    }

    fn gate_bytes(&self, program: &Program, shape: &Shape) -> u64 {
        let (order, wires) = (order(program), shape.num_wires());
        let modes = order.sides(wires);
        let hubbards = || Step::all(program).filter_map(|step| hubbard(step, wires).ok().flatten());
        // Two parts of an `fhop`, each of at most three rotations and phases before and behind.
        let others = Step::all(program).count().saturating_mul(16);
        let gates = hubbards().map(|hubbard| hubbard.gates()).fold(others, usize::saturating_add);
        let is_late = fillings(program, shape).nth(1).is_some();
        let bytes = fillings(program, shape).map(|fermions| {
            // While one fermion more comes in, both states are there.
            let [rows, columns] = fermions;
            let before = [[rows.saturating_sub(1), columns], [rows, columns.saturating_sub(1)]];
            let [a, b] = before.map(|fermions| FermionState::bytes(modes, fermions));
            let comes_in = if is_late { a.max(b) } else { 0 };
            let hubbard = hubbards().map(|hubbard| hubbard.bytes(order, fermions)).max().unwrap_or(0);
            let gates = FermionState::gate_bytes(modes, fermions, gates);
            FermionState::string_bytes(modes, fermions).saturating_add(gates.max(comes_in).max(hubbard))
        });
        bytes.max().unwrap_or(0).saturating_add(8192)
    }

    fn prepare(&self, program: &Program, stop: &StopFlag) -> Result<Prepared, SimulationError> {
        let shape = self.shape(program)?;
        let measured = measured_wires(program, &shape)?;
        let modes = shape.num_wires();
        let mut steps = Step::all(program).filter(|step| !matches!(step.name(), "measure" | "barrier")).peekable();
        let mut occupied = Vec::new();
        while let Some(step) = steps.next_if(|step| step.name() == "load") {
            let mode = loaded(step, modes)?;
            if occupied.contains(&mode) {
                return Err(step.fail(Problem::Occupied { mode, occupation: 1.0 }));
            }
            occupied.push(mode);
        }
        let mut state = FermionState::new(shape, order(program), &occupied)?;
        for step in steps {
            stop.check()?;
            act(step, &mut state, stop)?;
        }
        state.finish(stop)?;
        Ok(Prepared { state: state.into(), measured, drawn_before: 0 })
    }
}

const KNOWN: [&str; 10] = ["load", "fhop", "fint", "fphase", "fhubbard", "frx", "fry", "frz", "barrier", "measure"];

/// The order of the modes in which no gate leads from one side to the other.
fn order(program: &Program) -> ModeOrder {
    let crosses = |step: Step| match (step.name(), step.raw_wires()) {
        ("fhop", &[a, b, c, d]) => a % 2 != c % 2 || b % 2 != d % 2,
        ("frx" | "fry", &[a, b]) => a % 2 != b % 2,
        _ => false,
    };
    if Step::all(program).any(crosses) { ModeOrder::Natural } else { ModeOrder::BySpin }
}

/// How many fermions there are on each side at first, and after each further `load`, as far as they go in.
fn fillings(program: &Program, shape: &Shape) -> impl Iterator<Item = [usize; 2]> {
    let (order, modes) = (order(program), shape.num_wires());
    let sides = order.sides(modes);
    let mut steps = Step::all(program).filter(|step| !matches!(step.name(), "measure" | "barrier")).peekable();
    let side = move |step: Step| loaded(step, modes).ok().map(|mode| order.place(mode).0);
    let mut fermions = [0; 2];
    while let Some(step) = steps.next_if(|step| step.name() == "load") {
        side(step).into_iter().for_each(|side| fermions[side] += 1);
    }
    let later = steps.filter(|step| step.name() == "load").filter_map(side).scan(fermions, |fermions, side| {
        fermions[side] += 1;
        Some(*fermions)
    });
    let fits = move |fermions: &[usize; 2]| fermions[0] <= sides[0] && fermions[1] <= sides[1];
    std::iter::once(fermions).chain(later).take_while(fits)
}

/// The mode that a `load` puts a fermion into.
fn loaded(step: Step, modes: usize) -> Result<usize, SimulationError> {
    let [mode] = step.wires(modes)?;
    step.params::<0>()?;
    Ok(mode)
}

/// `fhubbard` J…, U, μ… on all modes: hops of -J from each site to the next one, U where a site is full, μ on each
/// site. None for other instructions.
fn hubbard(step: Step, modes: usize) -> Result<Option<Hubbard>, SimulationError> {
    if step.name() != "fhubbard" {
        return Ok(None);
    }
    let params = step.all_params(modes)?;
    let (hops, rest) = params.split_at(modes / 2 - 1);
    let (&interaction, potentials) = rest.split_first().unwrap_or((&0.0, &[]));
    let hops = hops.iter().map(|hop| -hop).collect();
    Ok(Some(Hubbard { hops, interaction, potentials: potentials.to_vec() }))
}

/// Two different modes.
fn two_modes(step: Step, modes: usize) -> Result<[usize; 2], SimulationError> {
    let pair: [usize; 2] = step.wires(modes)?;
    if pair[0] == pair[1] {
        return Err(step.fail(Problem::WiresRepeat { wires: step.raw_wires().to_vec() }));
    }
    Ok(pair)
}

fn act(step: Step, state: &mut FermionState, stop: &StopFlag) -> Result<(), SimulationError> {
    let modes = state.shape().num_wires();
    if let Some(hubbard) = hubbard(step, modes)? {
        return hubbard.evolve(state, stop);
    }
    match step.name() {
        "load" => {
            let mode = loaded(step, modes)?;
            state.create(mode, stop)?.map_err(|problem| step.fail(problem))?;
        }
        "fhop" => {
            let [theta] = step.params()?;
            let [a, b, c, d] = step.wires(modes)?;
            hop(state, &[[a, c], [b, d]], theta, stop)?;
        }
        "fint" => {
            let [strength] = step.params()?;
            state.interact(strength, stop)?;
        }
        "fphase" => {
            let [strength] = step.params()?;
            // A mode that is listed twice counts twice.
            for mode in step.all_wires(modes)? {
                state.phase(mode, strength.into(), stop)?;
            }
        }
        // φ (c†_a c_b + c†_b c_a), i φ (c†_b c_a - c†_a c_b), φ (n_a - n_b).
        "frx" => {
            let ([phi], pair) = (step.params()?, two_modes(step, modes)?);
            hop(state, &[pair], phi, stop)?;
        }
        "fry" => {
            let ([phi], pair) = (step.params()?, two_modes(step, modes)?);
            let turn = Double::from(phi).phase();
            state.turn(pair, [turn.re, turn.im], stop)?;
        }
        "frz" => {
            let ([phi], [a, b]) = (step.params()?, two_modes(step, modes)?);
            state.phase(a, phi.into(), stop)?;
            state.phase(b, (-phi).into(), stop)?;
        }
        _ => return Err(step.unknown(&KNOWN)),
    }
    Ok(())
}
