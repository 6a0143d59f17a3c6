//! Python packages at pinned versions, in environments of their own below the build folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The interpreter of the environment `name`, which has the packages of the file `requirements`: every package with its
/// version, so that the peer of today is the peer of next year. Whoever comes first makes the environment, the others
/// wait.
pub(crate) fn interpreter(name: &str, requirements: &Path) -> PathBuf {
    let shown = requirements.display();
    let packages = fs::read_to_string(requirements).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the build folder");
    let peers = build.join("peers");
    fs::create_dir_all(&peers).expect("the build folder takes files");
    // The kernel frees the lock with the process, however that ends.
    let lock = File::create(peers.join(format!("{name}.lock"))).expect("the build folder takes files");
    lock.lock().expect("files can be locked");
    let environment = peers.join(name);
    let complete = environment.join("complete");
    let python = environment.join("bin/python");
    if fs::read_to_string(&complete).is_ok_and(|made_of| made_of == packages) && python.exists() {
        return python;
    }
    if environment.exists() {
        fs::remove_dir_all(&environment).expect("an unfinished environment can be removed");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment), "Python 3.10 or newer with its module venv");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "-r"];
    run(Command::new(&python).args(pip).arg(requirements), &format!("the packages of {shown} from PyPI"));
    fs::write(complete, packages).expect("the environment takes files");
    python
}

fn run(command: &mut Command, needed: &str) {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("these tests need {needed}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => panic!("these tests need {needed}: {error}"),
    }
}
