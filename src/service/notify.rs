//! What the service manager is told, over the socket that it names in `NOTIFY_SOCKET`. Without one all this is silent.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells that the service is up, or that it is done with reloading.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that the service reads its configuration again; [`ready`] must follow.
pub fn reloading() {
    // The time is what units of the type `notify-reload` ask for; others pass over it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "Cannot read the monotonic clock."),
    }
}

/// Tells that the service ends, and that it may take `grace`, however short the unit's own time limit is.
pub fn stopping(grace: Duration) {
    let grace = (grace + STOP_MARGIN).as_micros();
    let limit = NotifyState::ExtendTimeoutUsec(grace.try_into().unwrap_or(u32::MAX));
    tell(&[NotifyState::Stopping, limit]);
}

/// Tells in one line what the service is at, for `systemctl status`.
pub fn status(text: &str) {
    // A line break would begin a message of its own.
    tell(&[NotifyState::Status(&text.replace(['\n', '\r'], " "))]);
}

/// What the end needs beside the grace period: to put jobs back and to close storages.
const STOP_MARGIN: Duration = Duration::from_secs(30);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "Cannot reach the service manager.");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// A process of its own, since the socket stands in the environment.
    fn child() -> Command {
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "service::notify::tests::tell_everything", "--ignored"]).env_remove("NOTIFY_SOCKET");
        child
    }

    #[test]
    fn the_service_manager_hears_everything() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("binds");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("sets");
        let output = child().env("NOTIFY_SOCKET", &path).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        let receive = || {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).expect("a message");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(receive(), "READY=1\n");
        assert_eq!(receive(), "STATUS=2 jobs running READY=1\n");
        let reloading = receive();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the time").trim_end();
        assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
        assert_eq!(receive(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000\n");
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        assert!(child().status().expect("runs").success());
        assert!(child().env("NOTIFY_SOCKET", "/nonexistent/notify").status().expect("runs").success());
    }

    #[test]
    #[ignore = "the process that the other tests start"]
    fn tell_everything() {
        ready();
        status("2 jobs running\nREADY=1");
        reloading();
        stopping(Duration::from_secs(30));
    }
}
