//! The check of one job, fed by the reader: experiments and instructions in the order of the text.

use std::collections::HashSet;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use qspool_driver::{Instruction, Program, WireOrder};
use serde_json::{Map, Value};

use super::backend::BackendSchema;
use super::instruction::{integer, not_an_instruction};
use super::rejection::{Rejection, RejectionKind};
use super::size::counted_states;
use super::words;
use crate::job::{Experiment, Job};

/// After so many problems the rest of a job is only read, not checked.
const MAX_PROBLEMS: usize = 20;
/// Most bytes of one problem.
const PROBLEM_BYTES: usize = 340;

/// What a database adds to the documents that it keeps. Peers take it out of a job, too.
const DATABASE_ID: &str = "_id";

/// A job while it is read.
pub(super) struct JobCheck<'s> {
    schema: &'s BackendSchema,
    names: HashSet<String>,
    experiments: Vec<Experiment>,
    problems: Vec<String>,
}

/// One experiment while it is read.
pub(super) struct ExperimentCheck<'s> {
    schema: &'s BackendSchema,
    name: String,
    /// What stands in place of the experiment, if it is no object.
    instead: Option<Value>,
    fields: Map<String, Value>,
    /// The number of instructions, once their list was seen.
    count: Option<usize>,
    /// The instructions by their index; one that is not right in itself has left an empty name.
    instructions: Vec<Instruction>,
    /// The sizes of register on which all instructions may act: at least the first, at most the second.
    registers: (u32, u32),
    own_problems: Vec<String>,
    /// Each with the index of its instruction.
    instruction_problems: Vec<(usize, String)>,
    room: usize,
}

/// What an experiment came to: what can be run, or its problems.
pub(super) type ExperimentEnd = Result<Experiment, Vec<String>>;

impl<'s> JobCheck<'s> {
    pub(super) fn new(schema: &'s BackendSchema) -> Self {
        Self { schema, names: HashSet::new(), experiments: Vec::new(), problems: Vec::new() }
    }

    /// Whether enough problems were found.
    pub(super) fn is_given_up(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    pub(super) fn not_an_object(&mut self, shown: &str) {
        self.problem(&format!("The job is {shown}; allowed: an object of experiments."));
    }

    fn problem(&mut self, problem: &str) {
        self.problems.push(words::shortened(problem, PROBLEM_BYTES));
    }

    /// Begins the experiment `name`; none if the name itself is a problem, or if it is no experiment.
    pub(super) fn begin_experiment(&mut self, name: &str) -> Option<ExperimentCheck<'s>> {
        let schema = self.schema;
        if name == DATABASE_ID {
            return None;
        }
        if !self.names.insert(name.to_owned()) {
            self.problem(&format!("{}: appears twice in the job", words::shown_name(name)));
            return None;
        }
        if !schema.experiment_name.is_valid(&Value::String(name.to_owned())) {
            let allowed = schema.allowed_in("experiment_name");
            self.problem(&format!("experiment {} not allowed; allowed: {allowed}", words::shown_text(name)));
            return None;
        }
        let limit = schema.max_experiments();
        if !is_number_up_to(limit, name) {
            self.problem(&format!("experiment {} not allowed; allowed numbers: 0 to {limit}", words::shown_text(name)));
            return None;
        }
        Some(ExperimentCheck {
            schema,
            name: name.to_owned(),
            instead: None,
            fields: Map::new(),
            count: None,
            instructions: Vec::new(),
            registers: (0, u32::MAX),
            own_problems: Vec::new(),
            instruction_problems: Vec::new(),
            room: MAX_PROBLEMS - self.problems.len().min(MAX_PROBLEMS),
        })
    }

    pub(super) fn end_experiment(&mut self, end: ExperimentEnd) {
        match end {
            // What follows a bad experiment is checked, but need not be kept.
            Ok(experiment) if self.problems.is_empty() => self.experiments.push(experiment),
            Ok(_) => {}
            Err(problems) => problems.iter().for_each(|problem| self.problem(problem)),
        }
    }

    /// The verdict once the whole text was read. The sizes are looked at last, as peers do.
    pub(super) fn end(mut self) -> Result<Job, Rejection> {
        let mut kind = RejectionKind::Invalid;
        if self.problems.is_empty() && self.experiments.is_empty() {
            let allowed = self.schema.allowed_in("experiment_name");
            self.problem(&format!("No instructions received. Needed: at least one experiment, its name {allowed}"));
        } else if self.problems.is_empty() {
            kind = RejectionKind::TooLarge;
            self.problems = self.too_large();
        }
        if self.problems.is_empty() {
            return Ok(Job { experiments: self.experiments });
        }
        let has_more = self.is_given_up();
        self.problems.truncate(MAX_PROBLEMS);
        Err(Rejection::new(kind, self.problems, has_more))
    }

    fn too_large(&self) -> Vec<String> {
        let Some((limit, load)) = self.schema.max_states() else { return Vec::new() };
        let problem = |experiment: &Experiment| {
            let states = counted_states(&experiment.program, load);
            let shown = if states < 1e15 { format!("{states}") } else { format!("{states:.1e}") };
            let name = words::shown_name(&experiment.name);
            let message = || format!("{name}: the loaded register has {shown} states; allowed: at most {limit}");
            (states > f64::from(limit)).then(message)
        };
        self.experiments.iter().filter_map(problem).take(MAX_PROBLEMS).collect()
    }
}

/// Whether the digits at the end of an experiment's name, however many, make a number up to `limit`.
fn is_number_up_to(limit: u64, name: &str) -> bool {
    let start = name.trim_end_matches(|character: char| character.is_ascii_digit()).len();
    let digits = name[start..].trim_start_matches('0');
    digits.is_empty() || digits.parse().is_ok_and(|number: u64| number <= limit)
}

impl ExperimentCheck<'_> {
    /// Whether enough problems were found.
    pub(super) fn is_given_up(&self) -> bool {
        self.own_problems.len() + self.instruction_problems.len() >= self.room
    }

    pub(super) fn not_an_object(&mut self, given: Value) {
        self.instead = Some(given);
    }

    /// Whether the schema knows `key` of an experiment; others are not looked at.
    pub(super) fn is_known(&self, key: &str) -> bool {
        self.schema.experiment_property(key).is_some()
    }

    pub(super) fn field(&mut self, key: &str, value: Value) {
        self.fields.insert(key.to_owned(), value);
    }

    /// A problem of the experiment as a whole.
    pub(super) fn problem(&mut self, problem: &str) {
        self.own_problems.push(format!("{}: {problem}", words::shown_name(&self.name)));
    }

    fn instruction_problem(&mut self, index: usize, name: Option<&str>, problem: &str) {
        let experiment = words::shown_name(&self.name);
        let name = name.map(|name| format!(" ({})", words::shown_name(name))).unwrap_or_default();
        self.instruction_problems.push((index, format!("{experiment}, instruction {index}{name}: {problem}")));
    }

    pub(super) fn begin_instructions(&mut self) {
        self.count = Some(0);
    }

    /// Takes note of an instruction that has more values than are read.
    pub(super) fn too_many_values(&mut self, limit: usize) {
        let index = self.instructions.len();
        self.keep(None);
        self.instruction_problem(index, None, &format!("more than {limit} values"));
    }

    /// Keeps the next instruction, if it is right.
    fn keep(&mut self, instruction: Option<Instruction>) {
        let nothing = || Instruction { name: String::new(), wires: Vec::new(), params: Vec::new() };
        self.instructions.push(instruction.unwrap_or_else(nothing));
        self.count = Some(self.instructions.len());
    }

    /// Checks the next instruction.
    pub(super) fn instruction(&mut self, given: &mut Value) {
        let index = self.instructions.len();
        let schema = self.schema;
        let name = given.get(0).and_then(Value::as_str);
        let Some((name, instruction)) = name.and_then(|name| schema.instruction(name)) else {
            let problem = self.unknown_instruction(given);
            self.keep(None);
            return self.instruction_problem(index, None, &problem);
        };
        match instruction.check(schema.document(), given) {
            Ok(checked) => {
                let registers = instruction.registers(&checked.wires);
                self.registers.0 = self.registers.0.max(*registers.start());
                self.registers.1 = self.registers.1.min(*registers.end());
                self.keep(Some(checked));
            }
            Err(problems) => {
                self.keep(None);
                for problem in problems {
                    self.instruction_problem(index, Some(name), &problem);
                }
            }
        }
    }

    fn unknown_instruction(&self, given: &Value) -> String {
        let schema = self.schema;
        match given.get(0).and_then(Value::as_str) {
            Some(name) if schema.any_instruction.is_valid(given) => {
                let known = schema.supported_instructions();
                let hint = words::nearest(name, known.iter().map(String::as_str));
                let hint = hint.map(|nearest| format!("; did you mean {nearest:?}?")).unwrap_or_default();
                format!("unknown instruction {}; allowed: {}{hint}", words::shown_text(name), known.join(", "))
            }
            _ => not_an_instruction(given),
        }
    }

    /// Checks what can only be checked once everything is known.
    pub(super) fn end(mut self) -> ExperimentEnd {
        self.check_fields();
        let program = if self.own_problems.is_empty() { self.program() } else { None };
        match program {
            Some(program) if self.instruction_problems.is_empty() => Ok(Experiment { name: self.name, program }),
            _ => {
                self.instruction_problems.sort_by_key(|(index, _)| *index);
                self.own_problems.extend(self.instruction_problems.into_iter().map(|(_, problem)| problem));
                Err(self.own_problems)
            }
        }
    }

    fn check_fields(&mut self) {
        if let Some(count) = self.count {
            // The instructions themselves are checked one by one; here only their number matters.
            let placeholders = vec![Value::Null; count.min(self.schema.most_counted_instructions())];
            self.fields.insert("instructions".into(), Value::Array(placeholders));
        }
        let experiment = self.instead.take().unwrap_or_else(|| Value::Object(std::mem::take(&mut self.fields)));
        let validator = &self.schema.experiment;
        if !validator.is_valid(&experiment) {
            for error in validator.iter_errors(&experiment).take(MAX_PROBLEMS) {
                let problem = self.field_problem(&error);
                self.problem(&problem);
            }
        }
        if let Value::Object(fields) = experiment {
            self.fields = fields;
        }
    }

    fn field_problem(&self, error: &jsonschema::ValidationError) -> String {
        let schema = self.schema;
        let with_type = matches!(error.kind(), ValidationErrorKind::Type { .. });
        let key = match (error.kind(), error.instance_path().iter().next()) {
            (ValidationErrorKind::Required { property }, None) => {
                let key = property.as_str().unwrap_or_default();
                let needed = schema.allowed_property(key, true);
                return format!("{key} missing; needed: {needed}");
            }
            (ValidationErrorKind::Type { .. }, None) => {
                return format!("{} not allowed; allowed: an object", words::shown(error.instance()));
            }
            (_, Some(LocationSegment::Property(key))) => key.to_string(),
            _ => return words::found(error),
        };
        let allowed = schema.allowed_property(&key, with_type);
        match (error.kind(), self.count) {
            (ValidationErrorKind::MinItems { .. } | ValidationErrorKind::MaxItems { .. }, Some(count)) => {
                format!("{count} {key} given; allowed: {allowed}")
            }
            _ if allowed.is_empty() => format!("{key}: {}", words::found(error)),
            _ => format!("{key} {} not allowed; allowed: {allowed}", words::shown(error.instance())),
        }
    }

    /// The program, if the instructions suit its register.
    fn program(&mut self) -> Option<Program> {
        let number = |key: &str| self.fields.get(key).and_then(integer);
        let (Some(num_wires), Some(shots)) = (number("num_wires"), number("shots")) else {
            self.problem("num_wires and shots must be integers");
            return None;
        };
        let seed = match self.fields.get("seed") {
            None | Some(Value::Null) => None,
            Some(given) => {
                let seed = integer(given);
                if seed.is_none() {
                    self.problem("seed must be an integer, 0 to 4294967295, or null");
                    return None;
                }
                seed
            }
        };
        let wire_order = match self.fields.get("wire_order") {
            None => self.schema.default_wire_order(),
            Some(given) => given.as_str().and_then(wire_order),
        };
        let Some(wire_order) = wire_order else {
            self.problem(r#"wire_order must be "sequential" or "interleaved""#);
            return None;
        };
        if !(self.registers.0..=self.registers.1).contains(&num_wires) {
            self.report_unsuitable(num_wires);
        }
        let instructions = std::mem::take(&mut self.instructions);
        Some(Program { instructions, num_wires, shots, wire_order, seed })
    }

    /// Reports the instructions that do not suit the register.
    fn report_unsuitable(&mut self, num_wires: u32) {
        let schema = self.schema;
        for (index, instruction) in std::mem::take(&mut self.instructions).iter().enumerate() {
            if self.is_given_up() {
                return;
            }
            let Some((name, instruction_schema)) = schema.instruction(&instruction.name) else { continue };
            if !instruction_schema.registers(&instruction.wires).contains(&num_wires) {
                let problem = instruction_schema.unsuitable(schema.document(), &instruction.wires, num_wires);
                self.instruction_problem(index, Some(name), &problem);
            }
        }
    }
}

/// The order of wires that a job's word stands for.
pub(super) fn wire_order(word: &str) -> Option<WireOrder> {
    match word {
        "sequential" => Some(WireOrder::Sequential),
        "interleaved" => Some(WireOrder::Interleaved),
        _ => None,
    }
}
