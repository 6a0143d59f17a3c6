//! What of the outside world bears on the configuration: the only file of this room that looks at it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::error::{ConfigError, Place, Problem};
use super::layers::PREFIX;
use crate::secret::Secret;

/// The file of the machine, looked for last.
const SYSTEM_FILE: &str = "/etc/qspool/qspool.toml";

/// The file of the working directory.
const LOCAL_FILE: &str = "qspool.toml";

/// The variable that names the file; the one variable of ours that is no setting.
pub(super) const FILE_VARIABLE: &str = "QSPOOL_CONFIG";

/// Everything that a configuration is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<SourceFile>,
    /// The environment variables. An empty one counts as not set.
    pub variables: BTreeMap<String, String>,
    /// The value of `PRIVATE_JWK_STR`, which is kept apart: it is a secret, and no setting.
    pub private_jwk: Option<Secret>,
    /// The working directory, absolute: relative paths of the environment start here.
    pub directory: PathBuf,
    /// The files of `$CREDENTIALS_DIRECTORY` that hold secrets of ours, by name, as in `storage.lab.mongodb_password` or
    /// `signing.key`.
    pub credentials: BTreeMap<String, PathBuf>,
}

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path as a person would give it, absolute or from the working directory.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl Sources {
    /// Reads the environment and the first file that there is: `flag` (the file named on the command line),
    /// `$QSPOOL_CONFIG`, `./qspool.toml`, `/etc/qspool/qspool.toml`.
    ///
    /// # Errors
    ///
    /// A named file that does not exist, a file that cannot be read, is no UTF-8 text or can be written by every
    /// user, and a variable of ours that is no UTF-8 text.
    pub fn read(flag: Option<&Path>) -> Result<Self, ConfigError> {
        let directory = env::current_dir()
            .map_err(|error| Problem::new(Place::Default, format!("cannot find the working directory: {error}")))?;
        Self::gather(flag, env::vars_os(), directory, Path::new(SYSTEM_FILE))
    }

    fn gather(
        flag: Option<&Path>,
        environment: impl Iterator<Item = (OsString, OsString)>,
        directory: PathBuf,
        system_file: &Path,
    ) -> Result<Self, ConfigError> {
        let mut variables = readable(environment)?;
        let private_jwk = variables.remove(PRIVATE_JWK).map(Secret::from);
        let named = flag.or(variables.get(FILE_VARIABLE).map(Path::new));
        let file = match named {
            Some(path) => Some(read_file(&directory, path).map_err(|problem| ConfigError::from(from(flag, problem)))?),
            None => [Path::new(LOCAL_FILE), system_file]
                .into_iter()
                .find_map(|path| {
                    Some(match read_file(&directory, path) {
                        Err(Unreadable { is_missing: true, .. }) => return None,
                        other => other.map_err(|unreadable| ConfigError::from(unreadable.problem)),
                    })
                })
                .transpose()?,
        };
        let credentials = variables.get(CREDENTIALS).map(|path| credentials(Path::new(path))).unwrap_or_default();
        Ok(Self { file, variables, private_jwk, directory, credentials })
    }
}

/// The variable by which systemd tells a service where its credentials lie.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The first letters of the name of every credential of ours: the table that it belongs to.
const TABLES: [&str; 2] = ["signing.", "storage."];

/// The variable by which the reference is given the key that signs.
const PRIVATE_JWK: &str = "PRIVATE_JWK_STR";

/// The credentials of ours in a directory. One that cannot be read has none, which whoever needs one will say.
fn credentials(directory: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_ours = |name: &String| TABLES.iter().any(|table| name.starts_with(table));
    names.filter(is_ours).map(|name| (name.clone(), directory.join(name))).collect()
}

/// Why a file could not be taken.
struct Unreadable {
    is_missing: bool,
    problem: Problem,
}

/// Adds who named the file, where that is not plain from the command line.
fn from(flag: Option<&Path>, unreadable: Unreadable) -> Problem {
    let hint = flag.is_none().then(|| format!("the environment variable {FILE_VARIABLE} names this file"));
    Problem { hint: unreadable.problem.hint.or(hint), ..unreadable.problem }
}

fn readable(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in environment {
        match (name.into_string(), value.into_string()) {
            (Ok(_), Ok(value)) if value.is_empty() => {}
            (Ok(name), Ok(value)) => {
                variables.insert(name, value);
            }
            (Ok(name), Err(_)) if name.starts_with(PREFIX) => {
                problems.push(Problem::new(Place::Variable(name), "its value is no UTF-8 text"));
            }
            // Whatever is no text is no concern of ours.
            _ => {}
        }
    }
    ConfigError::unless_none(problems).map(|()| variables)
}

/// Others may write: the bit of the file mode.
const OTHERS_WRITE: u32 = 0o002;

fn read_file(directory: &Path, path: &Path) -> Result<SourceFile, Unreadable> {
    let problem = |what: String| Problem::new(Place::File(path.to_owned()), what);
    let refused = |problem| Unreadable { is_missing: false, problem };
    let failed = |error: io::Error| Unreadable {
        is_missing: error.kind() == io::ErrorKind::NotFound,
        problem: problem(format!("cannot read the configuration file: {error}")),
    };
    let location = directory.join(path);
    let metadata = fs::metadata(&location).map_err(failed)?;
    if metadata.is_file() && metadata.permissions().mode() & OTHERS_WRITE != 0 {
        let hint = Some(format!("chmod o-w {}", path.display()));
        return Err(refused(Problem { hint, ..problem("every user of this machine can write the file".to_owned()) }));
    }
    let text = String::from_utf8(fs::read(&location).map_err(failed)?).map_err(|error| {
        let place = Place::in_text(path, error.as_bytes(), error.utf8_error().valid_up_to());
        refused(Problem::new(place, "this line is no UTF-8 text"))
    })?;
    Ok(SourceFile { path: path.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn check(directory: &Path, flag: Option<&str>, variables: &[(&str, &str)], expected: &str) {
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let system_file = directory.join("etc.toml");
        let found = match Sources::gather(flag.map(Path::new), environment, directory.to_owned(), &system_file) {
            Ok(sources) => sources.file.map_or("none".to_owned(), |file| file.text),
            Err(error) => error.to_string().replace(directory.to_str().expect("a text"), "DIR"),
        };
        assert_eq!(found, expected, "flag {flag:?}, variables {variables:?}");
    }

    #[test]
    fn the_first_file_that_there_is_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        let write = |name: &str| fs::write(directory.join(name), name).expect("writes");
        check(directory, None, &[], "none");
        write("etc.toml");
        check(directory, None, &[], "etc.toml");
        write("qspool.toml");
        check(directory, None, &[], "qspool.toml");
        write("variable.toml");
        check(directory, None, &[("QSPOOL_CONFIG", "variable.toml")], "variable.toml");
        check(directory, None, &[("QSPOOL_CONFIG", "")], "qspool.toml");
        write("flag.toml");
        check(directory, Some("flag.toml"), &[("QSPOOL_CONFIG", "variable.toml")], "flag.toml");
    }

    #[test]
    fn a_named_file_must_be_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = "none.toml: cannot read the configuration file: No such file or directory (os error 2)";
        check(directory.path(), Some("none.toml"), &[], missing);
        let named = format!("{missing}\nhint: the environment variable QSPOOL_CONFIG names this file");
        check(directory.path(), None, &[("QSPOOL_CONFIG", "none.toml")], &named);
    }

    #[test]
    fn a_file_that_cannot_be_trusted_or_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("qspool.toml");
        fs::write(&path, "").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("changes");
        let expected = "qspool.toml: every user of this machine can write the file\nhint: chmod o-w qspool.toml";
        check(directory.path(), None, &[], expected);
        fs::remove_file(&path).expect("removes");
        fs::write(&path, b"[log]\nlevel = '\xff'").expect("writes");
        check(directory.path(), None, &[], "qspool.toml:2: this line is no UTF-8 text");
        fs::remove_file(&path).expect("removes");
        fs::create_dir(&path).expect("makes");
        let expected = "qspool.toml: cannot read the configuration file: Is a directory (os error 21)";
        check(directory.path(), None, &[], expected);
    }

    #[test]
    fn a_variable_of_ours_must_be_text() {
        let variable = |name: &str| (OsString::from(name), OsString::from_vec(vec![0xff]));
        assert!(readable([variable("LESS")].into_iter()).is_ok());
        let error = readable([variable("QSPOOL_LOG_LEVEL")].into_iter()).expect_err("is no text");
        assert_eq!(error.to_string(), "environment variable QSPOOL_LOG_LEVEL: its value is no UTF-8 text");
    }
}
