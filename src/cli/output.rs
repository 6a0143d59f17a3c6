//! Printing: data to stdout, everything else to stderr, colours only where they are wanted.

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};

use super::failure::{Exit, Failure};

/// Good news.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub(super) const CAUTION: Style = AnsiColor::Yellow.on_default();
/// Bad news.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// Names and headings.
pub(super) const NAME: Style = AnsiColor::Cyan.on_default();

/// `text` in a style.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// One line, or several, of what the command was asked for. Somebody who has stopped reading is no failure.
pub(super) fn print(text: impl AsRef<str>) -> Result<(), Failure> {
    match writeln!(anstream::stdout(), "{}", text.as_ref()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "the output cannot be written").because(error))
        }
        _ => Ok(()),
    }
}

/// The same for programs.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Exit::Failed, "the output cannot be written").because(error))?;
    print(text)
}

/// A note to whoever watches.
pub(super) fn note(text: impl AsRef<str>) {
    // There is nobody left to tell that there is nobody to tell.
    let _unheard = writeln!(anstream::stderr(), "{}", text.as_ref());
}

/// The end of a command that failed.
pub(super) fn print_failure(failure: &Failure) {
    note(format!("{} {failure}", styled(BAD, "error:")));
}

/// Prints rows of cells as aligned columns, the last one cut where the terminal ends. Elsewhere nothing is cut.
pub(super) fn print_table(rows: &[Vec<String>]) -> Result<(), Failure> {
    let width = terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(Width(width), _)| width.into());
    print(table(rows).lines().map(|line| cut(line, width)).collect::<Vec<_>>().join("\n"))
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Rows of cells as aligned columns.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        assert_eq!(cut("äbcd", 4), "äbcd");
        assert_eq!(cut("äbcde", 4), "äbc…");
        assert_eq!(cut("ab", 0), "…");
    }
}
