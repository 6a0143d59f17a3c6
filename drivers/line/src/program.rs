//! From a program to the lines that load it.

use qspool_driver::{Instruction, Problem, Program};

use crate::check::wire_names;
use crate::error::unknown;
use crate::expression::Scope;
use crate::file::{Gate, LineFile, WireCount};
use crate::param::Param;
use crate::steps::Step;

/// A program as it is loaded.
#[derive(Debug)]
pub(crate) struct Compiled<'a> {
    /// The lines, each with its step.
    pub(crate) lines: Vec<(&'a Step, String)>,
    /// How many of them are rows.
    pub(crate) rows: u32,
    /// How long one shot takes.
    pub(crate) expected_s: f64,
    /// The wires that are measured, in the order of the values.
    pub(crate) measured: Vec<u32>,
}

/// Checks a program against the limits of the device, and writes it in the device's words.
pub(crate) fn compile<'a>(file: &'a LineFile, program: &Program) -> Result<Compiled<'a>, Problem> {
    if !(1..=file.max_shots).contains(&program.shots) {
        return Err(Problem::of_program(format!("{} shots; allowed are 1 to {}", program.shots, file.max_shots)));
    }
    if program.num_wires > file.num_wires {
        let what = format!("{} wires; the device has {}", program.num_wires, file.num_wires);
        return Err(Problem::of_program(what));
    }
    let begin_rows = count_rows(&file.program.begin);
    let end_rows = count_rows(&file.program.end);
    let mut writer = Writer { file, lines: Vec::new(), rows: begin_rows };
    let mut expected_s = 0.0;
    let mut measured = Vec::new();
    for (index, instruction) in program.instructions.iter().enumerate() {
        let problem = |what| Problem::of_instruction(index, &instruction.name, what);
        let gate = gate(file, instruction, program.num_wires).map_err(problem)?;
        // A `measure` that names no wire measures the only one.
        let is_measure = gate.name == "measure";
        let wires = if is_measure && instruction.wires.is_empty() { &[0][..] } else { &instruction.wires };
        if is_measure {
            measured.extend_from_slice(wires);
        }
        expected_s += writer.gate(gate, wires, &instruction.params).map_err(problem)?;
        if writer.rows + end_rows > file.program.max_rows {
            return Err(problem(format!(
                "here the program has more than the {} rows that the device keeps",
                file.program.max_rows
            )));
        }
    }
    let rows = writer.rows + end_rows;
    let gates = std::mem::take(&mut writer.lines);
    let of_program = |what: String| Problem::of_program(what);
    writer.rows = 0;
    writer.outside(&file.program.begin, rows, program.shots).map_err(of_program)?;
    writer.lines.extend(gates);
    writer.rows = rows - end_rows;
    writer.outside(&file.program.end, rows, program.shots).map_err(of_program)?;
    let scope = Scope::new(&file.constants).with("rows", f64::from(rows));
    expected_s += file.program.duration.value(&scope).map_err(of_program)?.max(0.0);
    if expected_s > file.program.max_duration_s {
        let most = file.program.max_duration_s;
        return Err(Problem::of_program(format!("a shot takes {expected_s} s; allowed are {most} s")));
    }
    Ok(Compiled { lines: writer.lines, rows, expected_s, measured })
}

fn count_rows(steps: &[Step]) -> u32 {
    steps.iter().filter(|step| step.send.uses("n")).map(|_| 1).sum()
}

/// The gate of an instruction, when everything about it is allowed.
fn gate<'a>(file: &'a LineFile, instruction: &Instruction, num_wires: u32) -> Result<&'a Gate, String> {
    let Some(gate) = file.gates.iter().find(|gate| gate.name == instruction.name) else {
        let names: Vec<&str> = file.gates.iter().map(|gate| gate.name.as_str()).collect();
        return Err(unknown(&instruction.name, &names));
    };
    let wires = &instruction.wires;
    if let WireCount::Exactly(count) = gate.wires
        && u32::try_from(wires.len()) != Ok(count)
    {
        return Err(format!("wires {wires:?}; {count} are needed"));
    }
    if let Some(wire) = wires.iter().find(|&&wire| wire >= num_wires) {
        return Err(format!("wire {wire}; allowed are 0 to {}", num_wires.saturating_sub(1)));
    }
    if gate.wires != WireCount::Any && (1..wires.len()).any(|index| wires[..index].contains(&wires[index])) {
        return Err(format!("wires {wires:?} name one twice"));
    }
    if !gate.allowed_wires.is_empty() && !gate.allowed_wires.contains(wires) {
        return Err(format!("wires {wires:?} not allowed; allowed: {:?}", gate.allowed_wires));
    }
    Param::check_all(&gate.params, &instruction.params)?;
    Ok(gate)
}

struct Writer<'a> {
    file: &'a LineFile,
    lines: Vec<(&'a Step, String)>,
    rows: u32,
}

impl<'a> Writer<'a> {
    /// Writes the lines of one gate, and returns how long it takes.
    fn gate(&mut self, gate: &'a Gate, wires: &[u32], params: &[f64]) -> Result<f64, String> {
        let names = wire_names(gate.wires);
        let file = self.file;
        let scope = || Param::name_all(&gate.params, params, Scope::new(&file.constants));
        let with_wires = || match (gate.wires, wires) {
            (WireCount::Any, _) => scope(),
            // Of one wire there are two names.
            (_, &[wire]) => names.iter().fold(scope(), |scope, name| scope.with(name, f64::from(wire))),
            _ => names.iter().zip(wires).fold(scope(), |scope, (name, &wire)| scope.with(name, f64::from(wire))),
        };
        for step in &gate.emit {
            if gate.wires == WireCount::Any && step.send.uses("w") {
                for &wire in wires {
                    self.line(step, scope().with("w", f64::from(wire)))?;
                }
            } else {
                self.line(step, with_wires())?;
            }
        }
        Ok(gate.duration.value(&with_wires())?.max(0.0))
    }

    /// Writes lines around the gates.
    fn outside(&mut self, steps: &'a [Step], rows: u32, shots: u32) -> Result<(), String> {
        let file = self.file;
        steps.iter().try_for_each(|step| {
            let scope = Scope::new(&file.constants);
            self.line(step, scope.with("rows", f64::from(rows)).with("shots", f64::from(shots)))
        })
    }

    fn line(&mut self, step: &'a Step, scope: Scope<'_>) -> Result<(), String> {
        let line = step.send.line(&scope.with("n", f64::from(self.rows)))?;
        if let Some(why) = self.file.port.refusal(&line) {
            return Err(format!("the line {line:?} may not be sent: {why}"));
        }
        self.rows += u32::from(step.send.uses("n"));
        self.lines.push((step, line));
        Ok(())
    }
}
