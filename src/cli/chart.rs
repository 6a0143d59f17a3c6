//! Bars made of characters.

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    /// From 0 to the chart's maximum.
    pub(super) value: f64,
    /// Printed behind the bar.
    pub(super) note: String,
}

/// Characters of the longest bar.
const WIDTH: f64 = 40.0;

/// A horizontal bar chart, one line per bar; `maximum` is the value of a full bar.
pub(super) fn chart(bars: &[Bar], maximum: f64) -> String {
    let label_width = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let line = |bar: &Bar| {
        let Bar { label, value, note } = bar;
        format!("{label:>label_width$} ┤{:<width$} {note}", bar_of(value / maximum), width = 40).trim_end().to_owned()
    };
    bars.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A bar for a share between 0 and 1, exact to an eighth of a character.
fn bar_of(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * WIDTH * 8.0).round();
    let eighths = if eighths.is_finite() { eighths } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 320")]
    let eighths = eighths as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        let bar = |label: &str, value: f64| Bar { label: label.into(), value, note: format!("{value}") };
        let text = chart(&[bar("0", 2.0), bar("10", 1.0), bar("x", f64::NAN)], 2.0);
        let full = "█".repeat(40);
        let half = "█".repeat(20);
        assert_eq!(text, format!(" 0 ┤{full} 2\n10 ┤{half}{} 1\n x ┤{} NaN", " ".repeat(20), " ".repeat(40)));
    }
}
