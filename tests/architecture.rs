//! The rules of the house, read off the sources. Each test names the invariant of `ARCHITECTURE.md` that it holds.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms from top to bottom. Each may use those of the rows below it; those of one row do not use each other.
const ROWS: [&[&str]; 7] = [
    &["cli"],
    &["config"],
    &["service"],
    &["spooler"],
    &["backend", "storage"],
    &["schema", "signing", "simulator"],
    &["job", "secret"],
];

/// The rooms that compute and nothing else.
const PURE: [&str; 4] = ["job", "schema", "signing", "simulator"];

/// One file of the sources.
struct Source {
    /// From the root of the package.
    path: PathBuf,
    text: String,
    /// Without comments, and without the unit tests.
    tokens: TokenStream,
}

/// A path such as `crate::job::JobId`, with the line in which it ends; nested imports are written out.
struct Used {
    path: String,
    line: usize,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let tokens = without_tests(text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
        Self { path, text, tokens }
    }

    /// The room that the file belongs to; none for those that only put the rooms together.
    fn room(&self) -> Option<&str> {
        let mut parts = self.path.strip_prefix("src").ok()?.iter().map(|part| part.to_str().unwrap());
        let first = parts.next()?;
        parts.next().map(|_| first)
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    fn used(&self) -> Vec<Used> {
        paths(self.tokens.clone())
    }

    /// The words of the code: every identifier and keyword, and for a call that of its method with the dot.
    fn words(&self) -> Vec<Used> {
        words(self.tokens.clone())
    }
}

/// Every source file below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => collect(&path, found),
                Some(extension) if extension == "rs" => found.push(path),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has sources");
    found.sort();
    found.iter().map(|path| Source::read(path)).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Leaves out every `#[cfg(test)] mod … { … }`.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::<TokenTree>::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_module = matches!(tokens.peek(), Some(TokenTree::Ident(word)) if word == "mod");
        if is_module && matches!(&token, TokenTree::Group(group) if group.to_string() == "[cfg (test)]") {
            // The sign before the attribute, and the three parts of the module.
            kept.pop();
            tokens.by_ref().take(3).for_each(drop);
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

fn is_sign(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == sign)
}

fn paths(tokens: TokenStream) -> Vec<Used> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        let mut path = match token {
            TokenTree::Ident(word) => word.to_string(),
            TokenTree::Group(group) => {
                found.extend(paths(group.stream()));
                continue;
            }
            _ => continue,
        };
        let mut line = token.span().start().line;
        while is_sign(tokens.get(at), ':') && is_sign(tokens.get(at + 1), ':') {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(word)) => {
                    path = format!("{path}::{word}");
                    line = word.span().start().line;
                    at += 3;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    found.extend(paths(group.stream()).into_iter().map(|below| {
                        let path = format!("{path}::{}", below.path);
                        Used { path, ..below }
                    }));
                    at += 3;
                    break;
                }
                _ => break,
            }
        }
        found.push(Used { path, line });
    }
    found
}

fn words(tokens: TokenStream) -> Vec<Used> {
    let (mut found, mut is_method) = (Vec::new(), false);
    for token in tokens {
        match &token {
            TokenTree::Ident(word) => {
                let dot = if is_method { "." } else { "" };
                found.push(Used { path: format!("{dot}{word}"), line: word.span().start().line });
            }
            TokenTree::Group(group) => found.extend(words(group.stream())),
            _ => {}
        }
        is_method = is_sign(Some(&token), '.');
    }
    found
}

/// Whether `path` is `prefix` or lies below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn row(room: &str) -> usize {
    ROWS.iter().position(|row| row.contains(&room)).unwrap_or_else(|| panic!("the room {room} has no row"))
}

/// Fails with all violations.
#[track_caller]
fn check(invariant: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{invariant}:\n{}", violations.join("\n"));
}

#[test]
fn arrows_between_rooms_point_down() {
    let mut violations = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let depth = source.path.iter().count() - 1 - usize::from(source.path.ends_with("mod.rs"));
        for Used { path, line } in source.used() {
            let steps: Vec<_> = path.split("::").collect();
            // More steps up than the file is deep would leave the room unseen.
            let ups = steps.iter().take_while(|step| **step == "super").count();
            if ups >= depth {
                violations.push(format!("{} leaves its room by {path}; write crate::<room>", source.at(line)));
            }
            if let ["crate", used, ..] = steps[..]
                && used != room
                && row(used) <= row(room)
            {
                violations.push(format!("{} uses {path}; {room} may use what is below it", source.at(line)));
            }
        }
    }
    check("arrows point down", &violations);
}

#[test]
fn config_knows_of_other_rooms_only_their_options() {
    let options: BTreeSet<String> = sources("src")
        .iter()
        .filter(|source| source.path.ends_with("options.rs"))
        .flat_map(|source| source.words().windows(2).map(|pair| pair[1].path.clone()).collect::<Vec<_>>())
        .collect();
    let mut violations = Vec::new();
    for source in sources("src/config") {
        for Used { path, line } in source.used() {
            if let ["crate", room, used, ..] = path.split("::").collect::<Vec<_>>()[..]
                && !(["config", "job", "secret"].contains(&room) || options.contains(used))
            {
                violations.push(format!("{} uses {path}", source.at(line)));
            }
        }
    }
    check("an options struct lives in its room, and config gathers nothing but these", &violations);
}

#[test]
fn pure_rooms_are_handed_what_they_need() {
    const IMPURE: [&str; 15] = [
        "std::env",
        "std::fs",
        "std::net",
        "std::os",
        "std::process",
        "std::thread",
        "std::io::stdin",
        "cap_std",
        "rand::random",
        "rand::random_range",
        "rand::rng",
        "rand::rngs::SysRng",
        "rand::rngs::ThreadRng",
        "tokio",
        "tracing",
    ];
    let mut violations = Vec::new();
    for source in sources("src").iter().filter(|source| source.room().is_some_and(|room| PURE.contains(&room))) {
        for Used { path, line } in source.used() {
            let is_clock =
                path.ends_with("::now") || path.split("::").any(|step| ["SystemTime", "Instant"].contains(&step));
            if is_clock || IMPURE.iter().any(|impure| is_below(&path, impure)) {
                violations.push(format!("{} uses {path}", source.at(line)));
            }
        }
    }
    check("invariant 2: no clock, file, environment or global random generator in a pure room", &violations);
}

#[test]
fn a_driver_knows_nothing_of_the_daemon() {
    let mut violations = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let table: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let dependencies = table["dependencies"].as_table().unwrap();
        if dependencies.contains_key("qspool") {
            violations.push(format!("{} depends on the daemon", manifest.display()));
        }
        if manifest.ends_with("api/Cargo.toml") {
            let more = dependencies.keys().filter(|name| !["serde", "thiserror"].contains(&name.as_str()));
            violations.extend(more.map(|name| format!("{} depends on {name}", manifest.display())));
        }
    }
    check("invariant 1: a Program in, an Outcome out", &violations);
}

#[test]
fn only_the_spooler_changes_where_a_job_lies() {
    const MOVES: [&str; 6] = ["adopt_orphans", "claim", "get_next_job_in_queue", "move_to", "put_back", "release"];
    let mut violations = Vec::new();
    for source in sources("src") {
        if matches!(source.room(), Some("spooler" | "storage")) {
            continue;
        }
        let methods = source.words().into_iter().filter(|word| word.path.starts_with('.'));
        let functions = source.used().into_iter().filter(|used| used.path.contains("::"));
        for Used { path, line } in methods.chain(functions) {
            if MOVES.contains(&path.rsplit(['.', ':']).next().unwrap()) {
                violations.push(format!("{} calls {path}", source.at(line)));
            }
        }
    }
    check("invariant 3: only the spooler changes where a job lies", &violations);
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    const IN_PLACE: [&str; 5] = ["fs::write", "fs::copy", "fs::rename", "File::create", "File::create_new"];
    let mut violations = Vec::new();
    for source in sources("src") {
        for Used { path, line } in source.used() {
            let path = path.trim_start_matches("std::");
            if IN_PLACE.iter().any(|write| path == *write || path.ends_with(&format!("::{write}"))) {
                violations
                    .push(format!("{} calls {path}; storage::local::files writes so that it holds", source.at(line)));
            }
        }
    }
    check("invariant 8: a document that is written half-way is never seen", &violations);
}

#[test]
fn only_the_command_line_prints() {
    let mut violations = Vec::new();
    for source in sources("src") {
        let is_log = source.path.ends_with("service/log.rs");
        if source.room() == Some("cli") || is_log {
            continue;
        }
        let prints = ["print", "println", "eprint", "eprintln", "dbg", "stdout", "stderr", "anstream"];
        let words = source.words().into_iter().filter(|word| prints.contains(&word.path.trim_start_matches('.')));
        violations.extend(words.map(|word| format!("{} has {}", source.at(word.line), word.path)));
    }
    check("only cli prints, and the log goes where service says", &violations);
}

#[test]
fn nothing_is_unsafe() {
    let mut violations = Vec::new();
    for source in sources("src").iter().chain(&sources("drivers")) {
        let words = source.words().into_iter().filter(|word| word.path == "unsafe");
        violations.extend(words.map(|word| source.at(word.line)));
    }
    check("no unsafe code", &violations);
}

#[test]
fn a_file_holds_one_idea() {
    const MOST_LINES: usize = 500;
    let mut violations = Vec::new();
    for source in sources("src").iter().chain(&sources("drivers")) {
        let lines: Vec<_> = source.text.lines().collect();
        let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
        let count = tests.unwrap_or(lines.len());
        if count > MOST_LINES {
            violations.push(format!("{} has {count} lines without its tests", source.path.display()));
        }
    }
    check("a file has at most 500 lines without its tests", &violations);
}

#[test]
fn a_mod_file_only_declares() {
    const DEFINES: [&str; 9] = ["fn", "impl", "struct", "enum", "trait", "const", "static", "type", "macro_rules"];
    let mut violations = Vec::new();
    for source in sources("src").iter().filter(|source| source.path.ends_with("mod.rs")) {
        let words = source.words().into_iter().filter(|word| DEFINES.contains(&word.path.as_str()));
        violations.extend(words.map(|word| format!("{} has {}", source.at(word.line), word.path)));
    }
    check("mod.rs declares and re-exports", &violations);
}

#[test]
fn every_exit_code_is_documented() {
    let failure = Source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/failure.rs"));
    let tokens: Vec<_> = failure.tokens.into_iter().collect();
    let position = tokens.windows(2).position(|pair| pair[0].to_string() == "enum" && pair[1].to_string() == "Exit");
    let TokenTree::Group(variants) = &tokens[position.expect("the exit codes are there") + 2] else {
        panic!("the exit codes are an enum");
    };
    let codes: Vec<String> = variants
        .stream()
        .into_iter()
        .filter(|token| matches!(token, TokenTree::Literal(_)))
        .map(|token| token.to_string())
        .filter(|literal| literal.parse::<u8>().is_ok())
        .collect();
    assert!(codes.len() > 3, "{codes:?}");
    let readme = text("README.md");
    let missing: Vec<_> = codes.into_iter().filter(|code| !readme.contains(&format!("| {code} |"))).collect();
    check("every exit code stands in the table of README.md", &missing);
}

#[test]
fn the_map_names_every_room_and_only_tests_that_exist() {
    let map = text("ARCHITECTURE.md");
    let mut violations = Vec::new();
    let rooms: BTreeSet<String> =
        sources("src").iter().filter_map(|source| source.room().map(ToOwned::to_owned)).collect();
    for room in &rooms {
        if !map.contains(&format!("| `{room}` |")) {
            violations.push(format!("the room {room} has no line in the map"));
        }
    }
    let mut functions = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("tests")).chain(&sources("drivers")) {
        let name = |line: &str| Some(line.split_once("fn ")?.1.split(['(', '<']).next()?.to_owned());
        functions.extend(source.text.lines().filter_map(name));
    }
    // A name of several words in code quotes is a test.
    let quoted = map.split('`').skip(1).step_by(2);
    for name in
        quoted.filter(|name| name.matches('_').count() > 2 && name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
    {
        if !functions.contains(name) {
            violations.push(format!("there is no test {name}"));
        }
    }
    check("ARCHITECTURE.md is true to the code", &violations);
}
