//! Opening a port, with what to do for each way in which it fails.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use qspool_driver::{DriverError, ErrorClass};
use serialport::{ClearBuffer, SerialPort as _, TTYPort};

use crate::PortSettings;

/// Opens the port for this process alone.
pub(crate) fn open(settings: &PortSettings) -> Result<TTYPort, DriverError> {
    let path = &settings.path;
    let fail = |class, what: &str| DriverError::new(class, format!("port {}: {what}", path.display()));
    let kind = fs::metadata(path).map_err(|error| {
        let (class, what) = missing(path, &error);
        fail(class, &what)
    })?;
    if !kind.file_type().is_char_device() {
        return Err(fail(ErrorClass::Configuration, NO_PORT));
    }
    let builder = serialport::new(path.to_string_lossy(), settings.baud)
        .data_bits(settings.data_bits)
        .parity(settings.parity)
        .stop_bits(settings.stop_bits)
        .flow_control(settings.flow_control);
    let port = TTYPort::open(&builder).map_err(|error| {
        let (class, what) = refused(&error, settings.baud);
        fail(class, &what)
    })?;
    fcntl(port.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .map_err(|error| fail(ErrorClass::Device, &format!("cannot be set up: {}", error.desc())))?;
    // What is in the driver of the kernel from before belongs to nobody. A pseudo-terminal may refuse it.
    drop(port.clear(ClearBuffer::All));
    Ok(port)
}

const NO_PORT: &str = "is not a serial port; name one of those that `qspool driver ports` lists";
const ACCESS: &str = "this user may not open it; add the user of the daemon to the group of the port (dialout, on Arch \
                      uucp), or write a udev rule with GROUP=, and check DeviceAllow= of the systemd unit";
const BUSY: &str = "another program has it open; close that one (`fuser` names it)";

fn missing(path: &Path, error: &io::Error) -> (ErrorClass, String) {
    match error.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            (ErrorClass::Device, "is a link to a port that is gone; plug the device in".to_owned())
        }
        io::ErrorKind::NotFound => {
            (ErrorClass::Device, "is not there; plug the device in and switch it on, or mend its name".to_owned())
        }
        io::ErrorKind::PermissionDenied => (ErrorClass::Configuration, ACCESS.to_owned()),
        _ => (ErrorClass::Device, format!("cannot be looked at: {error}")),
    }
}

fn refused(error: &serialport::Error, baud: u32) -> (ErrorClass, String) {
    use serialport::ErrorKind;
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => (ErrorClass::Configuration, ACCESS.to_owned()),
        ErrorKind::Io(io::ErrorKind::NotFound) => (ErrorClass::Device, "has just gone".to_owned()),
        // The port was there a moment ago: of all reasons only the lock is left.
        ErrorKind::NoDevice => (ErrorClass::Device, BUSY.to_owned()),
        ErrorKind::InvalidInput => {
            (ErrorClass::Configuration, format!("does not take its settings (baud {baud}): {error}"))
        }
        _ if is_no_terminal(error) => (ErrorClass::Configuration, NO_PORT.to_owned()),
        _ => (ErrorClass::Device, format!("cannot be opened (baud {baud}): {error}")),
    }
}

/// Whether the kernel says that this is no terminal, or not one that has what was asked for: ENOTTY, of which the crate
/// keeps only the words.
pub(crate) fn is_no_terminal(error: &serialport::Error) -> bool {
    error.description == nix::errno::Errno::ENOTTY.desc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_and_text(path: &Path) -> (ErrorClass, String) {
        let error = open(&PortSettings::new(path)).expect_err("no port");
        (error.class(), error.to_string())
    }

    #[test]
    fn what_is_missing_is_away_and_what_is_no_port_is_a_mistake() {
        let folder = tempfile::tempdir().expect("folder");
        let (class, text) = class_and_text(&folder.path().join("none"));
        assert_eq!(class, ErrorClass::Device);
        assert!(text.contains("none: is not there"), "{text}");

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("none"), &link).expect("link");
        let (class, text) = class_and_text(&link);
        assert_eq!(class, ErrorClass::Device);
        assert!(text.contains("is a link to a port that is gone"), "{text}");

        let file = folder.path().join("file");
        fs::write(&file, "").expect("file");
        for no_port in [&file, folder.path(), Path::new("/dev/null")] {
            let (class, text) = class_and_text(no_port);
            assert_eq!(class, ErrorClass::Configuration, "{text}");
            assert!(text.contains("is not a serial port"), "{text}");
        }
    }

    #[test]
    fn no_access_names_the_group() {
        let denied = serialport::Error::new(serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied), "denied");
        let (class, text) = refused(&denied, 9600);
        assert_eq!(class, ErrorClass::Configuration);
        assert!(text.contains("dialout"), "{text}");
    }
}
