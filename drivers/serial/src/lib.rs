//! Lines of text and blocks of bytes over a serial port, for drivers.
//!
//! A [`LinePort`] has one owner and one request in flight, and each exchange has one
//! [`Deadline`](qspool_driver::Deadline) over all its reads and writes. It knows when it has lost its place in the
//! dialogue, and finds it again before the next request. [`ports`] lists what is plugged in, and a [`SimulatedPort`] is
//! a port with a program behind it in place of a device.
//!
//! ```
//! use std::time::Duration;
//!
//! use qspool_driver::Deadline;
//! use qspool_serial::{LinePort, PortSettings, SimulatedLine, SimulatedPort};
//!
//! let device = SimulatedPort::start(|_: &[u8], line: &mut SimulatedLine| line.reply("version: 1.1.1\r\n"))?;
//! let mut port = LinePort::new(PortSettings::new(device.path()));
//! let soon = Deadline::after(Duration::from_secs(1));
//! port.open(soon)?;
//! assert_eq!(port.ask("version", soon)?, "version: 1.1.1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod lines;
mod open;
#[cfg(feature = "testing")]
mod plug;
mod port;
mod ports;
mod settings;
mod simulated;

pub use lines::Lines;
#[cfg(feature = "testing")]
pub use plug::{Fault, Plug};
pub use port::{Dialogue, LinePort};
pub use ports::{PortInfo, UsbInfo, ports};
pub use serialport::{DataBits, FlowControl, Parity, StopBits};
pub use settings::{LineEnd, PortSettings};
pub use simulated::{SimulatedDevice, SimulatedLine, SimulatedPort};
