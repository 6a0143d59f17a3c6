//! Lines with formulas in them.

use crate::expression::{Expression, Scope};

/// A line in which `{…}` stands for the value of a formula; `{{` and `}}` are the brackets themselves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Formula(Expression),
}

impl Template {
    /// Reads a line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let bracket = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(bracket) {
                plain.push_str(bracket);
                rest = after;
            } else if bracket == "}" {
                return Err(format!("{text:?} has a \"}}\" without \"{{\"; write \"}}}}\" for the bracket itself"));
            } else {
                let end = rest.find('}').ok_or_else(|| {
                    format!("{text:?} has a \"{{\" that is not closed; write \"{{{{\" for the bracket itself")
                })?;
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Formula(Expression::parse(&rest[..end])?));
                rest = &rest[end + 1..];
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces })
    }

    /// The line as it is sent.
    pub(crate) fn line(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut line = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Formula(formula) => line.push_str(&formula.text(scope)?),
            }
        }
        Ok(line)
    }

    /// Every name that has to be known.
    pub(crate) fn names(&self) -> Vec<&str> {
        let formulas = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Formula(formula) => Some(formula.names()),
            Piece::Text(_) => None,
        });
        formulas.flatten().collect()
    }

    /// Whether the line depends on this name.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.names().contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn formulas_are_replaced_and_brackets_kept() {
        let line = Template::parse("set {n} {round(t * 10)} {{x}}").expect("a template");
        assert!(line.uses("t") && !line.uses("x"));
        let text = line.line(&Scope::new(&BTreeMap::new()).with("n", 2.0).with("t", 0.55));
        assert_eq!(text.as_deref(), Ok("set 2 6 {x}"));
    }

    #[test]
    fn brackets_that_do_not_match_are_refused() {
        assert!(Template::parse("a {n").expect_err("open").contains("is not closed"));
        assert!(Template::parse("a n}").expect_err("closed").contains("without"));
        assert!(Template::parse("a {}").expect_err("empty").contains("ends too early"));
    }
}
