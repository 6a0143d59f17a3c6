//! The sample configuration file.

use std::iter;

use serde_json::Value;

use super::check::range;
use super::schema::{self, Shape, schema};

const INTRODUCTION: &str = "\
# Sample configuration of qspool. Everything is optional: remove the `#` before a table and its key to set it.
# `qspool check` says what is wrong with a configuration, and what would run with it.
#
# The file is the one named by `--config` or $QSPOOL_CONFIG, else ./qspool.toml, else /etc/qspool/qspool.toml.
# Each key has an environment variable that overrides it, as QSPOOL_SPOOLER_LEASE_S does spooler.lease_s, or
# QSPOOL_STORAGE_LOCAL_BASE_PATH the base_path of the storage `local`. Lists are written there as they are here.
# Relative paths start in the directory of this file, those of the environment in the working directory.
";

/// A configuration file that explains every key and sets none: each stands there as a comment, with its default, or
/// with an example where there is no default.
pub fn sample() -> String {
    let schema = schema();
    let sections = schema::properties(&schema).flat_map(|(name, section)| match schema::shape(section) {
        Shape::Named(one) => tables(name, Some(chosen_name(section)), section, one),
        Shape::Table(_) | Shape::Leaf => tables(name, None, section, section),
    });
    iter::once(INTRODUCTION.to_owned()).chain(sections).collect::<Vec<_>>().join("\n")
}

fn chosen_name(section: &Value) -> &str {
    section["examples"][0].as_str().unwrap_or("name")
}

/// The tables of the section `name`, one for each variant that `schema` has, called as the variant is; `section` says
/// what they are for, and `chosen` is a name that an operator could choose for one.
fn tables(name: &str, chosen: Option<&str>, section: &Value, schema: &Value) -> Vec<String> {
    let header = |chosen: Option<&str>| chosen.map_or_else(|| name.to_owned(), |chosen| format!("{name}.{chosen}"));
    let table = |header: String, about: String, keys: &mut dyn Iterator<Item = (&str, &Value)>| {
        let keys = keys.map(|(name, leaf)| format!("\n{}#{name} = {}\n", comment(leaf), value(leaf)));
        format!("{about}#[{header}]\n{}", keys.collect::<String>())
    };
    let about = describe(section);
    match schema::shape(schema) {
        Shape::Table(found) if !found.variants.is_empty() => {
            let one = |variant: &schema::Variant<'_>| {
                let mut keys = schema::properties(variant.schema).chain(schema::properties(found.common));
                table(header(variant.name.as_str()), format!("{about}#\n{}", describe(variant.schema)), &mut keys)
            };
            found.variants.iter().map(one).collect()
        }
        _ => vec![table(header(chosen), about, &mut schema::properties(schema))],
    }
}

/// What a schema says of itself, as comment lines.
fn describe(schema: &Value) -> String {
    let description = schema["description"].as_str();
    description.map_or_else(String::new, |text| format!("# {}\n", text.replace('\n', "\n# ")))
}

/// What a key means and what it takes, as comment lines.
fn comment(leaf: &Value) -> String {
    let choices = schema::choices(leaf).map(|(value, choice)| format!("# - {value}: {}", &describe(choice)[2..]));
    let limits = ["minimum", "maximum"].iter().any(|limit| leaf.get(limit).is_some());
    let limits = limits.then(|| format!("# Allowed: {}.\n", range(leaf)));
    iter::once(describe(leaf)).chain(choices).chain(limits).collect()
}

/// The value that stands in the sample: JSON and TOML write single values and lists alike.
fn value(leaf: &Value) -> String {
    let default = leaf.get("default").filter(|default| !default.is_null());
    default.or(leaf.get("const")).unwrap_or(&leaf["examples"][0]).to_string()
}
