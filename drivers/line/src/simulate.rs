//! What stands in for a device that is not there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use qspool_serial::{LineEnd, Lines, SimulatedDevice, SimulatedLine};

use crate::expression::{Expression, Scope};
use crate::steps::Pattern;

/// The rules of a simulated device.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) state: BTreeMap<String, String>,
    pub(crate) replies: Vec<Reply>,
}

/// What a simulated device does with a line: the first rule that fits is taken.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Which lines it is about.
    pub(crate) on: Pattern,
    /// Whether it is only for a device that is busy, or only for one that is not.
    pub(crate) busy: Option<bool>,
    /// What is answered, one after the other in turn.
    pub(crate) say: Vec<String>,
    /// What the device keeps in mind from then on.
    pub(crate) set: BTreeMap<String, String>,
    /// For how long it is busy from then on.
    pub(crate) busy_s: Option<Expression>,
    /// What it says by itself when it is no longer busy.
    pub(crate) then: Option<String>,
}

/// The device that a file simulates. It follows the rules of the file and knows nothing else.
#[derive(Debug)]
pub struct LineSimulation {
    rules: Rules,
    state: BTreeMap<String, String>,
    turns: Vec<usize>,
    busy_until: Option<Instant>,
    line_end: LineEnd,
    lines: Lines,
}

impl LineSimulation {
    pub(crate) fn new(rules: Rules, line_end: LineEnd) -> Self {
        let (state, turns) = (rules.state.clone(), vec![0; rules.replies.len()]);
        Self { rules, state, turns, busy_until: None, line_end, lines: Lines::default() }
    }

    fn answer(&mut self, request: &str, line: &mut SimulatedLine) {
        let is_busy = self.busy_until.is_some_and(|until| until > Instant::now());
        let fits = |reply: &Reply| reply.busy.is_none_or(|busy| busy == is_busy) && reply.on.matches(request);
        let Some(index) = self.rules.replies.iter().position(fits) else { return };
        let reply = &self.rules.replies[index];
        let said = (!reply.say.is_empty()).then(|| {
            let turn = self.turns[index] % reply.say.len();
            self.fill(&reply.say[turn], &reply.on, request)
        });
        self.turns[index] += 1;
        let set: Vec<(String, String)> = reply
            .set
            .iter()
            .map(|(name, text)| (name.clone(), self.result(&self.fill(text, &reply.on, request))))
            .collect();
        self.state.extend(set);
        let reply = &self.rules.replies[index];
        if let Some(said) = said {
            line.reply(self.ended(&said));
        }
        if let Some(busy_s) = &reply.busy_s {
            let busy =
                self.number(busy_s).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default();
            line.cancel();
            self.busy_until = Some(Instant::now() + busy);
            if let Some(then) = &reply.then {
                line.reply_after(busy, self.ended(&self.fill(then, &reply.on, request)));
            }
        }
    }

    fn ended(&self, text: &str) -> String {
        // CRLF: what most devices send.
        let end = if self.line_end == LineEnd::Cr { "\r" } else { "\r\n" };
        text.split('\n').map(|line| [line, end].concat()).collect()
    }

    /// The text with groups of the request and what the device keeps in mind.
    fn fill(&self, text: &str, on: &Pattern, request: &str) -> String {
        let mut filled = String::new();
        match on.groups(request) {
            Some(groups) => groups.expand(text, &mut filled),
            None => text.clone_into(&mut filled),
        }
        for (name, value) in &self.state {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        filled
    }

    /// What is kept in mind: the text, or the value of a formula that begins with `=`.
    fn result(&self, text: &str) -> String {
        let Some(formula) = text.strip_prefix('=') else { return text.to_owned() };
        let value = Expression::parse(formula).and_then(|formula| formula.text(&Scope::new(&self.numbers())));
        value.unwrap_or_else(|what| what)
    }

    fn number(&self, formula: &Expression) -> Option<f64> {
        formula.value(&Scope::new(&self.numbers())).ok()
    }

    fn numbers(&self) -> BTreeMap<String, f64> {
        self.state.iter().filter_map(|(name, text)| Some((name.clone(), text.parse().ok()?))).collect()
    }
}

impl SimulatedDevice for LineSimulation {
    fn receive(&mut self, bytes: &[u8], line: &mut SimulatedLine) {
        let end = if self.line_end == LineEnd::Cr { b'\r' } else { b'\n' };
        for request in self.lines.feed(bytes, end) {
            self.answer(&request, line);
        }
    }
}
