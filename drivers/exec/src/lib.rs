//! Drivers that are programs of their own, in any language: JSON-RPC 2.0, one message per line, over standard input and
//! output. `protocol.md` beside this crate tells the messages, `protocol.schema.json` their form, and `python/` has a
//! module that makes a driver out of a Python class.

mod driver;
mod message;
mod process;
mod settings;

pub use driver::ExecDriver;
pub use settings::ExecSettings;
