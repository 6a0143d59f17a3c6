//! The log.

use std::io;

use anstream::{AutoStream, ColorChoice};
use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::options::{LogFormat, LogLevel, LogOptions};

/// The running log, by which its level can be changed.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// journald does not answer.
    #[error("cannot log to journald, which log.format asks for: {0}")]
    Journald(#[source] io::Error),
    /// A log was begun before.
    #[error("the log of this process is set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

impl Log {
    /// Begins the log of this process: from here on `tracing` writes to the standard error stream or to journald.
    ///
    /// Colours show on a terminal only, unless `NO_COLOR` and its like say otherwise.
    pub fn begin(options: &LogOptions) -> Result<Self, LogError> {
        let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        let (log, subscriber) = Self::build(options, io::stderr, colours)?;
        tracing::subscriber::set_global_default(subscriber)?;
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a thread panicked: a defect of the program")));
        Ok(log)
    }

    /// Changes what is logged from now on.
    pub fn set_level(&self, level: &LogLevel) {
        // The handle fails only when the subscriber is gone, and then nobody logs.
        self.filter.reload(level.filter()).ok();
    }

    fn build<W>(options: &LogOptions, writer: W, colours: bool) -> Result<(Self, impl Subscriber + use<W>), LogError>
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        let (filter, handle) = reload::Layer::new(options.level.filter());
        let output = fmt::layer().with_writer(writer).with_ansi(colours);
        let output = match options.format {
            LogFormat::Text => output.boxed(),
            LogFormat::Json => output.json().flatten_event(true).with_span_list(false).boxed(),
            LogFormat::Journald => journald()?.boxed(),
        };
        Ok((Self { filter: handle }, Registry::default().with(filter).with(output)))
    }
}

/// The journal: fields as `QSPOOL_JOB_ID=…`, so that `journalctl QSPOOL_JOB_ID=…` finds all about a job.
fn journald() -> Result<tracing_journald::Layer, LogError> {
    let layer = tracing_journald::layer().map_err(LogError::Journald)?;
    Ok(layer.with_field_prefix(Some("QSPOOL".to_owned())).with_syslog_identifier("qspool".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing::{debug, info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with it").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `speak` logs in `format` at `level`.
    fn logged(format: LogFormat, level: &str, colours: bool, speak: impl FnOnce(&Log)) -> String {
        let buffer = Buffer::default();
        let options = LogOptions { format, level: level.parse().expect("a level") };
        let writer = buffer.clone();
        let (log, subscriber) = Log::build(&options, move || writer.clone(), colours).expect("builds");
        tracing::subscriber::with_default(subscriber, || speak(&log));
        String::from_utf8(buffer.0.lock().expect("nobody panics with it").clone()).expect("text")
    }

    fn end_a_job(_: &Log) {
        let span = info_span!("job", job_id = "42", backend = "fermions");
        span.in_scope(|| info!(elapsed_ms = 7, "The job is done."));
    }

    #[test]
    fn a_line_within_a_job_carries_its_id_and_backend() {
        let text = logged(LogFormat::Text, "info", false, end_a_job);
        for part in ["INFO", "job_id=\"42\"", "backend=\"fermions\"", "The job is done.", "elapsed_ms=7"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let json: Value = serde_json::from_str(&logged(LogFormat::Json, "info", false, end_a_job)).expect("JSON");
        assert_eq!(json["span"]["job_id"], "42");
        assert_eq!(json["span"]["backend"], "fermions");
        assert_eq!(json["message"], "The job is done.");
        assert_eq!(json["elapsed_ms"], 7);
        assert_eq!(json["level"], "INFO");
    }

    #[test]
    fn colours_are_only_there_when_asked_for() {
        assert!(!logged(LogFormat::Text, "info", false, end_a_job).contains('\x1b'));
        assert!(logged(LogFormat::Text, "info", true, end_a_job).contains('\x1b'));
        assert!(!logged(LogFormat::Json, "info", true, end_a_job).contains('\x1b'));
    }

    #[test]
    fn a_text_from_outside_cannot_begin_a_line_or_a_colour() {
        let text = logged(LogFormat::Text, "info", false, |_| info!(why = "a\nb\x1b[31m", "Refused."));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn the_level_decides_and_can_be_changed() {
        let speak = |log: &Log| {
            debug!("one");
            log.set_level(&"debug".parse().expect("a level"));
            debug!("two");
            log.set_level(&"off".parse().expect("a level"));
            info!("three");
        };
        let text = logged(LogFormat::Text, "info", false, speak);
        assert!(!text.contains("one") && text.contains("two") && !text.contains("three"), "{text}");
    }

    /// Begins the log in a process of its own, since a process has only one, and gives what it wrote.
    fn begun(format: &str) -> (String, String) {
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "service::log::tests::child", "--ignored", "--nocapture"])
            .env("FORMAT", format)
            .output()
            .expect("runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        assert!(output.status.success(), "{output:?}");
        (text(output.stdout), text(output.stderr))
    }

    #[test]
    fn the_log_goes_to_the_standard_error_stream() {
        for format in ["text", "json"] {
            let (output, log) = begun(format);
            assert!(log.contains("The job is done.") && !log.contains('\x1b'), "{format}: {log}");
            assert!(!output.contains("The job is done."), "{format}: {output}");
        }
    }

    #[test]
    fn without_journald_the_error_says_so() {
        let (output, log) = begun("journald");
        if std::path::Path::new("/run/systemd/journal/socket").exists() {
            assert_eq!(log, "");
        } else {
            let expected = "cannot log to journald, which log.format asks for: No such file or directory (os error 2)";
            assert!(output.contains(expected), "{output}");
        }
    }

    #[test]
    #[ignore = "the process that the other tests start"]
    fn child() {
        // Without the parent there is nothing to do.
        let Ok(format) = std::env::var("FORMAT") else { return };
        let format = serde_json::from_value(Value::String(format)).expect("a format");
        match Log::begin(&LogOptions { format, level: LogLevel::default() }) {
            Ok(log) => {
                end_a_job(&log);
                assert!(matches!(Log::begin(&LogOptions::default()), Err(LogError::Twice(_))));
            }
            Err(error) => io::Write::write_all(&mut io::stdout(), error.to_string().as_bytes()).expect("writes"),
        }
    }
}
