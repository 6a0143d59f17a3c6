//! The parameters of gates.

use serde::Deserialize;

use crate::expression::{Scope, is_name, is_taken};

/// A parameter of a gate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// Its name in formulas.
    pub name: String,
    /// Its unit, for people; may be empty.
    #[serde(default)]
    pub unit: String,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// Whether only whole numbers are taken.
    #[serde(default, rename = "integer")]
    pub is_integer: bool,
}

impl Param {
    /// Whether a gate can have these parameters: each with a name of its own and a value between two numbers.
    ///
    /// # Errors
    ///
    /// The first one that it cannot have, by its index, and why.
    pub fn check_definitions(params: &[Self]) -> Result<(), (usize, String)> {
        for (index, Self { name, min, max, .. }) in params.iter().enumerate() {
            if !is_name(name) || is_taken(name) || params[..index].iter().any(|other| other.name == *name) {
                return Err((index, format!("{name:?} is no name for a parameter, or has a meaning already")));
            }
            if !(min.is_finite() && max.is_finite() && min <= max) {
                return Err((index, format!("no value lies between min = {min} and max = {max}")));
            }
        }
        Ok(())
    }

    /// Whether these are values for these parameters.
    ///
    /// # Errors
    ///
    /// Which one is not, and what is allowed.
    pub fn check_all(params: &[Self], values: &[f64]) -> Result<(), String> {
        if values.len() != params.len() {
            return Err(format!("{} parameters; {} are needed", values.len(), params.len()));
        }
        params.iter().zip(values).try_for_each(|(param, value)| param.check(*value))
    }

    fn check(&self, value: f64) -> Result<(), String> {
        let Self { name, unit, min, max, is_integer } = self;
        if !(*min..=*max).contains(&value) {
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            return Err(format!("{name} = {value}{unit}; allowed are {min} to {max}{unit}"));
        }
        if *is_integer && (value - value.round()).abs() > f64::EPSILON {
            return Err(format!("{name} = {value}; it has to be a whole number"));
        }
        Ok(())
    }

    /// The names of these parameters, each with its value.
    pub fn name_all<'a>(params: &'a [Self], values: &[f64], scope: Scope<'a>) -> Scope<'a> {
        params.iter().zip(values).fold(scope, |scope, (param, value)| scope.with(&param.name, *value))
    }
}
