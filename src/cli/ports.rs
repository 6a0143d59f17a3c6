//! `qspool ports`: which serial ports there are, and what is plugged in.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use qspool_driver::{Deadline, DriverError};
use qspool_pico::Model;
use qspool_serial::{LinePort, PortInfo, PortSettings, ports};
use serde::Serialize;

use super::failure::Failure;
use super::output;

#[derive(Debug, Args)]
pub(super) struct PortsArguments {
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Ask every device who it is, by `version` and `*IDN?`; ports that another program has open are left alone. Boards
    /// that restart when their port is opened, as many Arduinos do, restart.
    #[arg(long)]
    ask: bool,
}

/// How long a device may take to say who it is.
const ANSWER: Duration = Duration::from_millis(500);

#[derive(Clone, Serialize)]
struct ShownPort {
    /// The name that the configuration should use.
    name: String,
    path: String,
    /// `vendor:product` in four hexadecimal digits each.
    usb: Option<String>,
    product: Option<String>,
    serial: Option<String>,
    /// What it is and its version, or its answer to `*IDN?`.
    firmware: Option<String>,
}

impl ShownPort {
    fn new(port: &PortInfo, is_asked: bool) -> Self {
        let path = port.path.display().to_string();
        let usb = port.usb.as_ref();
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            name: port.stable.as_ref().map_or_else(|| path.clone(), |stable| stable.display().to_string()),
            path,
            usb: usb.map(|usb| format!("{:04x}:{:04x}", usb.vendor_id, usb.product_id)),
            product: usb.and_then(|usb| text(&usb.product)),
            serial: usb.and_then(|usb| text(&usb.serial)),
            // One that is busy or silent tells nothing.
            firmware: if is_asked { firmware(&port.path).ok().flatten() } else { None },
        }
    }
}

/// Asks the device at a port who it is.
fn firmware(path: &Path) -> Result<Option<String>, DriverError> {
    let boards: [&Model; 3] = [&qspool_prawnblaster::MODEL, &qspool_prawndo::MODEL, &qspool_dds_sweeper::MODEL];
    let mut port = LinePort::new(PortSettings { late: Duration::ZERO, ..PortSettings::new(path) });
    port.open(Deadline::after(ANSWER))?;
    port.drain(Deadline::after(ANSWER))?;
    if let Ok(answer) = port.ask("version", Deadline::after(ANSWER)) {
        let known = boards.iter().find_map(|board| Some(format!("{} {}", board.name, board.version(&answer)?.0)));
        if known.is_some() {
            return Ok(known);
        }
    }
    let answer = port.ask("*IDN?", Deadline::after(ANSWER))?;
    // Maker, model, serial number, version: whatever else comes is an error, or an echo.
    Ok(Some(answer).filter(|answer| answer.split(',').count() == 4 && !answer.chars().any(char::is_control)))
}

pub(super) fn run(arguments: &PortsArguments) -> Result<(), Failure> {
    let ports: Vec<ShownPort> = ports().iter().map(|port| ShownPort::new(port, arguments.ask)).collect();
    if arguments.json {
        return output::print_json(&ports);
    }
    if ports.is_empty() {
        output::note("no serial port is plugged in");
        return Ok(());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut table = vec![["PORT", "USB", "PRODUCT", "SERIAL"].map(ToOwned::to_owned).to_vec()];
    table.extend(
        ports
            .iter()
            .cloned()
            .map(|port| vec![port.name, or_none(port.usb), or_none(port.product), or_none(port.serial)]),
    );
    if arguments.ask {
        let firmware = ports.into_iter().map(|port| or_none(port.firmware));
        let column = std::iter::once("FIRMWARE".to_owned()).chain(firmware);
        table.iter_mut().zip(column).for_each(|(row, firmware)| row.push(firmware));
    }
    output::print_table(&table)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use qspool_pico::SimulatedPico;
    use qspool_serial::{SimulatedLine, SimulatedPort};

    use super::*;

    #[test]
    fn devices_that_answer_say_their_firmware_and_others_nothing() {
        let board = Arc::<Mutex<qspool_prawndo::SimulatedPrawnDo>>::default();
        let board = SimulatedPort::start(SimulatedPico::new(board)).expect("a port");
        assert_eq!(firmware(board.path()), Ok(Some("PrawnDO 1.3.1".to_owned())));

        let instrument = |bytes: &[u8], line: &mut SimulatedLine| {
            line.reply(if bytes.starts_with(b"*IDN?") { "Maker,PC-400,7,2.1\r\n" } else { "-113\r\n" });
        };
        let instrument = SimulatedPort::start(instrument).expect("a port");
        assert_eq!(firmware(instrument.path()), Ok(Some("Maker,PC-400,7,2.1".to_owned())));

        let echo = SimulatedPort::start(|bytes: &[u8], line: &mut SimulatedLine| line.reply(bytes)).expect("a port");
        assert_eq!(firmware(echo.path()), Ok(None));
        let silent = SimulatedPort::start(|_: &[u8], _: &mut SimulatedLine| ()).expect("a port");
        assert!(firmware(silent.path()).is_err());
        assert!(firmware(Path::new("/nowhere/port")).is_err());
    }
}
