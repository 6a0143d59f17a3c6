//! Which ports there are.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A serial port that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// The name that the configuration should use, below `/dev/serial`: the same one after the device was plugged in
    /// again. None where there is none: a port on the board, or no udev.
    pub stable: Option<PathBuf>,
    /// The name that the kernel gave, such as `/dev/ttyACM0`.
    pub path: PathBuf,
    /// What is on the other side of a USB port.
    pub usb: Option<UsbInfo>,
}

/// What a USB device says of itself. Of two devices that say the same, the firmware tells which is which.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsbInfo {
    /// Who made the USB interface.
    pub vendor_id: u16,
    /// Which interface of this vendor.
    pub product_id: u16,
    /// The name of the vendor; may be empty.
    pub vendor: String,
    /// The name of the product; may be empty.
    pub product: String,
    /// The serial number; empty on many clones.
    pub serial: String,
}

/// The serial ports of this machine, in the order of their names. Pseudo-terminals and ports without hardware are not
/// among them.
pub fn ports() -> Vec<PortInfo> {
    ports_below(Path::new("/sys/class/tty"), Path::new("/dev"))
}

fn ports_below(class: &Path, dev: &Path) -> Vec<PortInfo> {
    let stable = stable_names(&dev.join("serial"));
    let mut found: Vec<PortInfo> = entries(class)
        .filter_map(|entry| {
            let device = fs::canonicalize(entry.join("device")).ok()?;
            let path = dev.join(entry.file_name()?);
            // The kernel keeps places for ports that the board does not have.
            let is_absent = read(&entry.join("type")).is_some_and(|kind| kind == "0");
            (!is_absent && path.exists()).then(|| {
                let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
                PortInfo { stable: stable.get(&real).cloned(), path, usb: usb_info(&device) }
            })
        })
        .collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Every link of udev, by the port that it leads to. One by the serial number wins over one by the socket.
fn stable_names(serial: &Path) -> HashMap<PathBuf, PathBuf> {
    let links = ["by-path", "by-id"].into_iter().flat_map(|kind| {
        let mut links: Vec<PathBuf> = entries(&serial.join(kind)).collect();
        links.sort();
        links
    });
    links.filter_map(|link| Some((fs::canonicalize(&link).ok()?, link))).collect()
}

fn usb_info(device: &Path) -> Option<UsbInfo> {
    let device = device.ancestors().find(|folder| folder.join("idVendor").is_file())?;
    let id = |name| u16::from_str_radix(&read(&device.join(name))?, 16).ok();
    let text = |name| read(&device.join(name)).unwrap_or_default();
    Some(UsbInfo {
        vendor_id: id("idVendor")?,
        product_id: id("idProduct")?,
        vendor: text("manufacturer"),
        product: text("product"),
        serial: text("serial"),
    })
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn read(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn ports_have_their_stable_name_and_what_usb_says() {
        let root = tempfile::tempdir().expect("folder");
        let (class, dev) = (root.path().join("class"), root.path().join("dev"));
        let usb = root.path().join("devices/usb1/1-2");
        fs::create_dir_all(usb.join("1-2:1.0")).expect("device");
        for (name, text) in
            [("idVendor", "2e8a\n"), ("idProduct", "000a\n"), ("product", "Pico\n"), ("serial", "E66\n")]
        {
            fs::write(usb.join(name), text).expect("attribute");
        }
        fs::create_dir_all(dev.join("serial/by-id")).expect("dev");
        fs::create_dir_all(dev.join("serial/by-path")).expect("dev");
        let board = root.path().join("devices/serial8250");
        fs::create_dir_all(&board).expect("device");
        for (name, kind, device) in
            [("ttyACM0", None, usb.join("1-2:1.0")), ("ttyS0", Some("4"), board.clone()), ("ttyS1", Some("0"), board)]
        {
            fs::create_dir_all(class.join(name)).expect("class");
            symlink(device, class.join(name).join("device")).expect("link");
            fs::write(dev.join(name), "").expect("node");
            if let Some(kind) = kind {
                fs::write(class.join(name).join("type"), kind).expect("type");
            }
        }
        fs::create_dir_all(class.join("tty0")).expect("a console has no device");
        symlink("../../ttyACM0", dev.join("serial/by-id/usb-Pico_E66-if00")).expect("link");
        symlink("../../ttyACM0", dev.join("serial/by-path/pci-0-usb-2")).expect("link");

        let found = ports_below(&class, &dev);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].path, dev.join("ttyACM0"));
        assert_eq!(found[0].stable, Some(dev.join("serial/by-id/usb-Pico_E66-if00")));
        let usb = found[0].usb.as_ref().expect("usb");
        assert_eq!((usb.vendor_id, usb.product_id, &*usb.product, &*usb.serial), (0x2e8a, 0x000a, "Pico", "E66"));
        assert_eq!((&found[1].path, &found[1].stable, &found[1].usb), (&dev.join("ttyS0"), &None, &None));
    }

    #[test]
    fn a_machine_without_ports_has_an_empty_list() {
        assert_eq!(ports_below(Path::new("/none"), Path::new("/none")), []);
    }
}
