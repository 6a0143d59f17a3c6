//! `qspool ports`: which serial ports there are, and what is plugged in.

use clap::Args;
use qspool_serial::{PortInfo, ports};
use serde::Serialize;

use super::failure::Failure;
use super::output;

#[derive(Debug, Args)]
pub(super) struct PortsArguments {
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ShownPort {
    /// The name that the configuration should use.
    name: String,
    path: String,
    /// `vendor:product` in four hexadecimal digits each.
    usb: Option<String>,
    product: Option<String>,
    serial: Option<String>,
}

impl From<PortInfo> for ShownPort {
    fn from(port: PortInfo) -> Self {
        let path = port.path.display().to_string();
        let usb = port.usb.as_ref();
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            name: port.stable.as_ref().map_or_else(|| path.clone(), |stable| stable.display().to_string()),
            path,
            usb: usb.map(|usb| format!("{:04x}:{:04x}", usb.vendor_id, usb.product_id)),
            product: usb.and_then(|usb| text(&usb.product)),
            serial: usb.and_then(|usb| text(&usb.serial)),
        }
    }
}

pub(super) fn run(arguments: &PortsArguments) -> Result<(), Failure> {
    let ports: Vec<ShownPort> = ports().into_iter().map(ShownPort::from).collect();
    if arguments.json {
        return output::print_json(&ports);
    }
    if ports.is_empty() {
        output::note("no serial port is plugged in");
        return Ok(());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let head = ["PORT", "USB", "PRODUCT", "SERIAL"].map(ToOwned::to_owned).to_vec();
    let rows =
        ports.into_iter().map(|port| vec![port.name, or_none(port.usb), or_none(port.product), or_none(port.serial)]);
    output::print_table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
