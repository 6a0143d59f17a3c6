//! Times in cycles of a board's clock.

use std::time::Duration;

/// How long so many cycles of this frequency in Hz last.
pub fn time(cycles: u64, hz: u32) -> Duration {
    let hz = u64::from(hz.max(1));
    let nanos = u128::from(cycles % hz) * 1_000_000_000 / u128::from(hz);
    // The rest is smaller than the divisor, so these are less than a second.
    Duration::new(cycles / hz, u32::try_from(nanos).unwrap_or_default())
}

/// So many seconds in cycles of this frequency in Hz, to the nearest.
///
/// # Errors
///
/// What is allowed, if that is less than `fewest` or more than 32 bits hold.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range by then")]
pub fn count(seconds: f64, fewest: u32, hz: u32) -> Result<u32, String> {
    let hz = f64::from(hz);
    let cycles = (seconds * hz).round();
    if cycles >= f64::from(fewest) && cycles <= f64::from(u32::MAX) {
        return Ok(cycles as u32);
    }
    let (least, most) = (f64::from(fewest) / hz, f64::from(u32::MAX) / hz);
    Err(format!("{seconds} s not allowed; allowed: {least:e} to {most:.1} s"))
}
