//! Formulas in a file: numbers, names, `+ - * /`, brackets, and a few functions.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// How deep brackets and signs may be nested.
const DEEPEST: usize = 40;

/// What a name stands for.
#[derive(Debug)]
pub struct Scope<'a> {
    constants: &'a BTreeMap<String, f64>,
    locals: Vec<(&'a str, f64)>,
}

impl<'a> Scope<'a> {
    /// The constants of a file and nothing else.
    pub fn new(constants: &'a BTreeMap<String, f64>) -> Self {
        Self { constants, locals: Vec::new() }
    }

    /// The same with one name more. It hides a constant of the same name.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: f64) -> Self {
        self.locals.push((name, value));
        self
    }

    fn get(&self, name: &str) -> Option<f64> {
        let local = self.locals.iter().rev().find(|(own, _)| *own == name).map(|(_, value)| *value);
        local.or_else(|| self.constants.get(name).copied()).or((name == "pi").then_some(std::f64::consts::PI))
    }
}

/// A formula that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Name(String),
    Negative(Box<Node>),
    Binary(char, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Round,
    Floor,
    Ceil,
    Abs,
    Min,
    Max,
    Hex,
    Fixed,
}

/// The functions by name, with the number of arguments that they take.
const FUNCTIONS: [(&str, Function, std::ops::RangeInclusive<usize>); 8] = [
    ("round", Function::Round, 1..=1),
    ("floor", Function::Floor, 1..=1),
    ("ceil", Function::Ceil, 1..=1),
    ("abs", Function::Abs, 1..=1),
    ("min", Function::Min, 2..=8),
    ("max", Function::Max, 2..=8),
    ("hex", Function::Hex, 1..=2),
    ("fixed", Function::Fixed, 2..=2),
];

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Expression {
    /// Reads a formula.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
        let root = parser.sum().map_err(|what| format!("in the formula {text:?}: {what}"))?;
        match parser.peek() {
            None => Ok(Self { root, text: text.to_owned() }),
            Some(token) => Err(format!("in the formula {text:?}: {token} is not expected here")),
        }
    }

    /// A formula that is one number.
    pub fn number(value: f64) -> Self {
        Self { root: Node::Number(value), text: value.to_string() }
    }

    /// Every name that has to be known.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.root, &mut names);
        names
    }

    /// Its number, which is finite.
    ///
    /// # Errors
    ///
    /// Which name has no value, or what cannot be computed.
    pub fn value(&self, scope: &Scope<'_>) -> Result<f64, String> {
        let value = number_of(&self.root, scope).map_err(|what| self.about(&what))?;
        if value.is_finite() { Ok(value) } else { Err(self.about(&format!("it gives {value}, which is no number"))) }
    }

    /// Its number as a device reads it: in decimal, without exponent; as `hex` or `fixed` say where it is one of these.
    ///
    /// # Errors
    ///
    /// As of [`value`](Self::value); also what cannot be written like that.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, String> {
        let Node::Call(function @ (Function::Hex | Function::Fixed), arguments) = &self.root else {
            return self.value(scope).map(decimal);
        };
        let numbers: Result<Vec<f64>, String> = arguments.iter().map(|one| number_of(one, scope)).collect();
        let numbers = numbers.map_err(|what| self.about(&what))?;
        let digits = numbers.get(1).copied().unwrap_or(1.0);
        let value = numbers[0];
        if !(value.is_finite() && (0.0..=32.0).contains(&digits)) {
            return Err(self.about(&format!("it gives {value} with {digits} digits")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 32")]
        let digits = digits as usize;
        if *function == Function::Fixed {
            return Ok(without_sign_of_zero(format!("{value:.digits$}")));
        }
        if !(is_whole(value) && (0.0..=MOST_EXACT).contains(&value)) {
            return Err(self.about(&format!("hex takes whole numbers from 0, this one is {}", decimal(value))));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
        let whole = value as u64;
        Ok(format!("{whole:0digits$x}"))
    }

    fn about(&self, what: &str) -> String {
        format!("in the formula {:?}: {what}", self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Formula;
        impl Visitor<'_> for Formula {
            type Value = Expression;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, or a formula as text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Expression, E> {
                Expression::parse(text).map_err(E::custom)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Expression, E> {
                Ok(Expression::number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Expression, E> {
                // As the other numbers of a file.
                number.to_string().parse().map(Expression::number).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Formula)
    }
}

/// Up to here every whole number is exact.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < f64::EPSILON
}

/// Twelve significant digits: enough for any device, and 0.1 + 0.2 is 0.3.
fn decimal(value: f64) -> String {
    if is_whole(value) && value.abs() <= MOST_EXACT {
        return without_sign_of_zero(format!("{value:.0}"));
    }
    let rounded: f64 = format!("{value:.11e}").parse().unwrap_or(value);
    rounded.to_string()
}

fn without_sign_of_zero(text: String) -> String {
    let is_zero = text.starts_with('-') && !text.contains(|digit: char| ('1'..='9').contains(&digit));
    if is_zero { text[1..].to_owned() } else { text }
}

fn collect<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
    match node {
        Node::Number(_) => {}
        Node::Name(name) => names.push(name),
        Node::Negative(inner) => collect(inner, names),
        Node::Binary(_, left, right) => [left, right].into_iter().for_each(|side| collect(side, names)),
        Node::Call(_, arguments) => arguments.iter().for_each(|argument| collect(argument, names)),
    }
}

fn number_of(node: &Node, scope: &Scope<'_>) -> Result<f64, String> {
    match node {
        Node::Number(value) => Ok(*value),
        Node::Name(name) => scope.get(name).ok_or_else(|| format!("{name:?} has no value here")),
        Node::Negative(inner) => Ok(-number_of(inner, scope)?),
        Node::Binary(operator, left, right) => {
            let (left, right) = (number_of(left, scope)?, number_of(right, scope)?);
            match operator {
                '+' => Ok(left + right),
                '-' => Ok(left - right),
                '*' => Ok(left * right),
                _ if right.abs() < f64::MIN_POSITIVE => Err("a division by zero".to_owned()),
                _ => Ok(left / right),
            }
        }
        Node::Call(function, arguments) => {
            let numbers: Vec<f64> = arguments.iter().map(|one| number_of(one, scope)).collect::<Result<_, _>>()?;
            let first = numbers.first().copied().unwrap_or_default();
            match function {
                Function::Round => Ok(first.round()),
                Function::Floor => Ok(first.floor()),
                Function::Ceil => Ok(first.ceil()),
                Function::Abs => Ok(first.abs()),
                Function::Min => Ok(numbers.into_iter().fold(f64::INFINITY, f64::min)),
                Function::Max => Ok(numbers.into_iter().fold(f64::NEG_INFINITY, f64::max)),
                Function::Hex | Function::Fixed => Err("hex and fixed give text, no number to go on with".to_owned()),
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Name(String),
    Sign(char),
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(formatter, "\"{value}\""),
            Self::Name(name) => write!(formatter, "{name:?}"),
            Self::Sign(sign) => write!(formatter, "\"{sign}\""),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '0'..='9' | '.' => {
                let length = length_of_number(rest);
                let digits = &rest[..length];
                let value: f64 = digits.parse().map_err(|_| format!("{digits:?} is no number"))?;
                found.push(Token::Number(value));
                length
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                found.push(Token::Name(rest[..length].to_owned()));
                length
            }
            '+' | '-' | '*' | '/' | '(' | ')' | ',' => {
                found.push(Token::Sign(first));
                1
            }
            other => return Err(format!("in the formula {text:?}: {other:?} is not expected here")),
        };
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn length_of_number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let mantissa = digits(0);
    if !matches!(bytes.get(mantissa), Some(b'e' | b'E')) {
        return mantissa;
    }
    let sign = usize::from(matches!(bytes.get(mantissa + 1), Some(b'+' | b'-')));
    match digits((mantissa + 1 + sign).min(bytes.len())) {
        0 => mantissa,
        exponent => mantissa + 1 + sign + exponent,
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take_sign(&mut self, signs: &[char]) -> Option<char> {
        match self.peek() {
            Some(&Token::Sign(sign)) if signs.contains(&sign) => {
                self.at += 1;
                Some(sign)
            }
            _ => None,
        }
    }

    fn sum(&mut self) -> Result<Node, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.take_sign(&['+', '-']) {
            left = Node::Binary(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, String> {
        let mut left = self.single()?;
        while let Some(sign) = self.take_sign(&['*', '/']) {
            left = Node::Binary(sign, Box::new(left), Box::new(self.single()?));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        let node = match self.peek().cloned() {
            Some(Token::Number(value)) => {
                self.at += 1;
                Node::Number(value)
            }
            Some(Token::Name(name)) => {
                self.at += 1;
                if self.take_sign(&['(']).is_some() { self.call(&name)? } else { Node::Name(name) }
            }
            Some(Token::Sign('-')) => {
                self.at += 1;
                Node::Negative(Box::new(self.single()?))
            }
            Some(Token::Sign('(')) => {
                self.at += 1;
                let inner = self.sum()?;
                self.take_sign(&[')']).ok_or("a bracket is not closed")?;
                inner
            }
            Some(token) => return Err(format!("{token} is not expected here")),
            None => return Err("it ends too early".to_owned()),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn call(&mut self, name: &str) -> Result<Node, String> {
        let known = FUNCTIONS.iter().find(|(own, ..)| *own == name);
        let (_, function, count) = known.ok_or_else(|| {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
            format!("function: {}", crate::error::unknown(name, &names))
        })?;
        let mut arguments = vec![self.sum()?];
        while self.take_sign(&[',']).is_some() {
            arguments.push(self.sum()?);
        }
        self.take_sign(&[')']).ok_or("a bracket is not closed")?;
        if !count.contains(&arguments.len()) {
            let (least, most) = (count.start(), count.end());
            return Err(format!("{name} takes {least} to {most} arguments, not {}", arguments.len()));
        }
        Ok(Node::Call(*function, arguments))
    }
}

/// Names that a file may not give to something of its own.
pub fn is_taken(name: &str) -> bool {
    let is_wire = name.strip_prefix('w').is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_digit()));
    let own = ["n", "pi", "rows", "shot", "shots", "expected_s", "value"];
    is_wire || own.contains(&name) || FUNCTIONS.iter().any(|(function, ..)| *function == name)
}

/// Whether a formula can have this name in it.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(formula: &str) -> Result<String, String> {
        let constants = BTreeMap::from([("gain".to_owned(), 2.5)]);
        Expression::parse(formula)?.text(&Scope::new(&constants).with("t", 0.25).with("w", 3.0))
    }

    #[test]
    fn formulas_follow_the_usual_rules() {
        for (formula, expected) in [
            ("1+2*3", "7"),
            ("(1+2)*3", "9"),
            ("-t*4", "-1"),
            ("--2", "2"),
            ("8/4/2", "1"),
            ("2-3-4", "-5"),
            ("round(t*5e7)", "12500000"),
            ("min(3, t, w)", "0.25"),
            ("max(1, gain*w)", "7.5"),
            ("0.1+0.2", "0.3"),
            ("1e-7", "0.0000001"),
            ("1e20", "100000000000000000000"),
            ("-0.0*1", "0"),
            ("hex(255)", "ff"),
            ("hex(10, 4)", "000a"),
            ("fixed(t*1000, 1)", "250.0"),
            ("fixed(-0.001, 1)", "0.0"),
            ("floor(2.9)+ceil(2.1)+abs(-1)", "6"),
            ("round(pi*100)", "314"),
        ] {
            assert_eq!(text(formula).as_deref(), Ok(expected), "{formula}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (formula, expected) in [
            ("1+", "it ends too early"),
            ("(1", "a bracket is not closed"),
            ("1 2", "\"2\" is not expected here"),
            ("1;2", "';' is not expected here"),
            ("1.2.3", "\"1.2.3\" is no number"),
            ("rund(1)", "did you mean \"round\"?"),
            ("round(1,2)", "round takes 1 to 1 arguments, not 2"),
            ("1/(t-t)", "a division by zero"),
            ("1e300*1e300", "which is no number"),
            ("tt", "\"tt\" has no value here"),
            ("hex(-1)", "hex takes whole numbers from 0"),
            ("hex(1.5)", "hex takes whole numbers from 0"),
            ("hex(1)+1", "hex and fixed give text"),
            ("fixed(1, 99)", "with 99 digits"),
        ] {
            let error = text(formula).expect_err(formula);
            assert!(error.contains(expected), "{formula}: {error}");
        }
        assert!(Expression::parse(&"(".repeat(10_000)).expect_err("deep").contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(formula in "[-+*/(),.0-9a-z e]{0,40}|\\PC{0,40}") {
            if let Ok(expression) = Expression::parse(&formula) {
                drop(expression.text(&Scope::new(&BTreeMap::new()).with("e", 1e308)));
            }
        }

        #[test]
        fn a_number_is_written_as_it_reads_back(value in -1e12..1e12_f64) {
            let text = decimal(value);
            let back: f64 = text.parse().expect("a number");
            prop_assert!((back - value).abs() <= value.abs() * 1e-11, "{value} {text}");
            prop_assert!(!text.contains(['e', 'E']));
        }
    }
}
