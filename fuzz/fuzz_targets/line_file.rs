//! Any text as the file of a device that speaks lines: a device, or an error of one line that names the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use qspool_line::LineFile;

fuzz_target!(|text: &str| {
    if let Err(error) = LineFile::parse("device.toml", text) {
        let said = error.to_string();
        assert!(said.starts_with("device.toml: ") && !said.contains('\n'), "{said}");
    }
});
