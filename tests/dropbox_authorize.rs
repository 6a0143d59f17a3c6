//! `qspool dropbox authorize`: the real binary against a server of Dropbox, with a person in between.

#![cfg(feature = "storage-dropbox")]
#![expect(clippy::unwrap_used, reason = "tests may")]

mod common;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::dropbox::{DropboxServer, Fault, SCOPES, When};

/// A server, and a directory with the configuration of a storage there.
struct Stage {
    server: DropboxServer,
    directory: tempfile::TempDir,
}

/// What became of a run.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Stage {
    /// `more` keys of the storage, beside the key of the app and the endpoint.
    fn new(more: &str) -> Self {
        let stage = Self { server: DropboxServer::start(), directory: tempfile::tempdir().unwrap() };
        stage.configure(more);
        stage
    }

    fn configure(&self, more: &str) {
        let (key, url) = (self.server.app_key(), self.server.url());
        let head = format!("[storage.lab]\ntype = 'dropbox'\napp_key = '{key}'\nendpoint = '{url}'\n");
        fs::write(self.path("qspool.toml"), head + more).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the command; `person` is handed the URL of the page and gives what is typed in: none is the end of input.
    /// `first` is typed in before that.
    fn run(&self, arguments: &[&str], first: &str, person: impl FnOnce(&str) -> Option<String>) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qspool"));
        command.args(["dropbox", "authorize"]).args(arguments).current_dir(self.directory.path());
        command.env("NO_COLOR", "1").env("HOME", self.directory.path()).env_remove("QSPOOL_CONFIG");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        // A process that has ended already reads nothing; its end tells why.
        let _unread = stdin.write_all(first.as_bytes());
        let (mut out, mut stdout) = (BufReader::new(process.stdout.take().unwrap()), String::new());
        out.read_line(&mut stdout).unwrap();
        if !stdout.is_empty() {
            let typed = person(stdout.trim_end()).unwrap_or_default();
            stdin.write_all(typed.as_bytes()).unwrap();
        }
        drop(stdin);
        out.read_to_string(&mut stdout).unwrap();
        let mut stderr = String::new();
        process.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Run { code: process.wait().unwrap().code(), stdout, stderr }
    }

    /// The same with a person who agrees; gives the code as well.
    fn agree(&self, arguments: &[&str], first: &str) -> (Run, String) {
        let mut code = String::new();
        let run = self.run(arguments, first, |url| {
            code = self.server.approve(url).expect("the page is good");
            Some(format!("{code}\n"))
        });
        assert!(!run.stdout.contains(&code) && !run.stderr.contains(&code), "{}{}", run.stdout, run.stderr);
        (run, code)
    }

    /// All files of the account are gone again.
    fn assert_nothing_is_left(&self) {
        let files: Vec<_> = self.server.paths().into_iter().filter(|path| !path.ends_with('/')).collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

impl Run {
    #[track_caller]
    fn assert_failed(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is missing in {}", self.stderr);
        }
    }

    #[track_caller]
    fn assert_good(&self, texts: &[&str]) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "{text:?}: {}{}",
                self.stdout,
                self.stderr
            );
        }
    }
}

fn token_in(path: &Path) -> String {
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

const FILE: &str = "refresh_token_file = 'token'";

#[test]
fn a_refresh_token_is_got_tried_out_and_stored_where_the_configuration_says() {
    let stage = Stage::new(FILE);
    fs::write(stage.path("token"), "an older one").unwrap();
    fs::set_permissions(stage.path("token"), Permissions::from_mode(0o644)).unwrap();
    let (run, _) = stage.agree(&[], "");
    run.assert_good(&["ada@example.org", "files.metadata.read"]);
    let token = token_in(&stage.path("token"));
    assert_eq!(token.len(), 64);
    assert!(!run.stdout.contains(&token) && !run.stderr.contains(&token));
    assert!(!run.stderr.contains("note:"), "nothing is left to do: {}", run.stderr);
    stage.assert_nothing_is_left();
    let mut names: Vec<_> =
        fs::read_dir(stage.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["qspool.toml", "token"]);
    for route in
        ["users/get_current_account", "files/upload", "files/get_metadata", "files/download", "files/delete_v2"]
    {
        assert_eq!(stage.server.count(route), 1, "{route}");
    }
    assert_eq!(stage.server.count("oauth2/token"), 2, "the code, and a refresh with what will be stored");
}

#[test]
fn a_storage_can_be_used_as_soon_as_it_is_authorized() {
    let stage = Stage::new(FILE);
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qspool"));
        command.arg("check").current_dir(stage.directory.path()).env("HOME", stage.directory.path());
        let output = command.env("NO_COLOR", "1").env_remove("QSPOOL_CONFIG").output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (good, before) = check();
    assert!(!good && before.contains("storage.lab.refresh_token"), "{before}");
    stage.agree(&[], "").0.assert_good(&["ada@example.org"]);
    let (good, after) = check();
    assert!(good && after.contains("documents can be written, read and deleted"), "{after}");
}

#[test]
fn no_configuration_is_needed_where_everything_is_said() {
    let stage = Stage::new("");
    fs::remove_file(stage.path("qspool.toml")).unwrap();
    let key = stage.server.app_key().to_owned();
    let url = stage.server.url().to_owned();
    let arguments = ["--app-key", &key, "--endpoint", &url, "--token-file", "token"];
    let (run, _) = stage.agree(&arguments, "");
    run.assert_good(&["set storage.dropbox.refresh_token_file", "set storage.dropbox.app_key"]);
    assert_eq!(token_in(&stage.path("token")).len(), 64);
    stage.run(&["--app-key", &key], "", |_| panic!("there is no page")).assert_failed(2, &["--token-file FILE"]);
    stage.run(&[], "", |_| panic!("there is no page")).assert_failed(2, &["--app-key"]);
}

#[test]
fn a_code_that_is_wrong_or_was_used_is_refused_and_nothing_is_stored() {
    let stage = Stage::new(FILE);
    fs::write(stage.path("token"), "an older one").unwrap();
    let run = stage.run(&[], "", |_| Some("a-wrong-code\n".to_owned()));
    run.assert_failed(2, &["does not take the code", "begin anew"]);
    assert!(!run.stderr.contains("a-wrong-code"), "{}", run.stderr);

    let (_, code) = stage.agree(&["--token-file", "other"], "");
    stage.run(&[], "", |_| Some(format!("{code}\n"))).assert_failed(2, &["was used before"]);
    assert_eq!(fs::read_to_string(stage.path("token")).unwrap(), "an older one");

    // The code of a page that another run has printed: it has another challenge.
    let mut other = String::new();
    stage.run(&[], "", |url| {
        other = stage.server.approve(url).unwrap();
        None
    });
    stage.run(&[], "", |_| Some(other)).assert_failed(2, &["does not take the code"]);
}

#[test]
fn a_scope_that_the_app_does_not_have_is_named() {
    let stage = Stage::new(FILE);
    for missing in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|scope| *scope != missing).collect();
        stage.server.set_scopes(&others);
        let (run, _) = stage.agree(&[], "");
        run.assert_failed(78, &[missing, "https://www.dropbox.com/developers/apps"]);
        assert!(others.iter().all(|scope| !run.stderr.contains(scope)), "{}", run.stderr);
        assert!(!stage.path("token").exists());
    }
    stage.server.set_scopes(&[]);
    let (run, _) = stage.agree(&[], "");
    run.assert_failed(78, &SCOPES);
}

#[test]
fn a_scope_that_was_promised_and_is_refused_is_found_by_its_use() {
    for withheld in SCOPES {
        let stage = Stage::new(FILE);
        stage.server.withhold_scope(withheld);
        let (run, _) = stage.agree(&[], "");
        run.assert_failed(78, &[withheld, "https://www.dropbox.com/developers/apps"]);
        let others = SCOPES.into_iter().filter(|scope| *scope != withheld);
        others.for_each(|scope| assert!(!run.stderr.contains(scope), "{}", run.stderr));
        assert!(!stage.path("token").exists());
        stage.assert_nothing_is_left();
    }
}

#[test]
fn a_code_without_a_refresh_token_is_refused() {
    let stage = Stage::new(FILE);
    stage.server.never_give_refresh_tokens();
    let (run, _) = stage.agree(&[], "");
    run.assert_failed(2, &["no refresh token"]);
    assert!(!stage.path("token").exists());
}

#[test]
fn a_place_where_nothing_can_be_stored_is_told_before_the_page_is_opened() {
    let stage = Stage::new("refresh_token_file = 'missing/token'");
    stage.run(&[], "", |_| panic!("there is no page")).assert_failed(78, &["missing/token", "No such file"]);
    stage.run(&["--token-file", "."], "", |_| panic!("there is no page")).assert_failed(2, &["not a regular file"]);
    fs::write(stage.path("target"), "precious").unwrap();
    symlink(stage.path("target"), stage.path("link")).unwrap();
    stage.run(&["--token-file", "link"], "", |_| panic!("there is no page")).assert_failed(2, &["a link"]);
    assert_eq!(fs::read_to_string(stage.path("target")).unwrap(), "precious");
    stage.configure("");
    let nowhere = ["storage.lab.refresh_token_file", "--token-file FILE"];
    stage.run(&[], "", |_| panic!("there is no page")).assert_failed(2, &nowhere);
}

#[test]
fn a_place_that_is_lost_meanwhile_is_told() {
    let stage = Stage::new("refresh_token_file = 'folder/token'");
    fs::create_dir(stage.path("folder")).unwrap();
    let run = stage.run(&[], "", |url| {
        fs::remove_dir(stage.path("folder")).unwrap();
        Some(stage.server.approve(url).unwrap())
    });
    run.assert_failed(1, &["cannot be stored", "folder/token"]);
}

#[test]
fn with_the_secret_of_the_app_the_token_works_with_it_only() {
    let stage = Stage::new(FILE);
    fs::write(stage.path("secret"), stage.server.app_secret()).unwrap();
    fs::set_permissions(stage.path("secret"), Permissions::from_mode(0o600)).unwrap();
    stage.configure(&format!("{FILE}\napp_secret_file = 'secret'"));
    let (run, _) = stage.agree(&["--with-secret"], "");
    run.assert_good(&["ada@example.org"]);
    assert!(!run.stdout.contains("code_challenge") && !run.stderr.contains("note:"), "{}{}", run.stdout, run.stderr);

    stage.configure(FILE);
    let secret = stage.server.app_secret().to_owned();
    let (run, _) = stage.agree(&["--with-secret"], &format!("{secret}\n"));
    run.assert_good(&["set storage.lab.app_secret_file"]);
    assert!(!run.stdout.contains(&secret) && !run.stderr.contains(&secret), "{}{}", run.stdout, run.stderr);

    let (run, _) = stage.agree(&["--with-secret"], "a-wrong-secret\n");
    run.assert_failed(78, &["storage.lab.app_key or app_secret"]);
    assert!(!run.stderr.contains("a-wrong-secret"), "{}", run.stderr);
    stage.configure(&format!("{FILE}\napp_secret_file = 'nothing'"));
    stage.run(&["--with-secret"], "", |_| panic!("there is no page")).assert_failed(78, &["storage.lab.app_secret"]);
    for secret in ["app_secret_file = 'nothing'".to_owned(), format!("app_secret = '{secret}'")] {
        stage.configure(&format!("{FILE}\n{secret}"));
        let (run, _) = stage.agree(&[], "");
        run.assert_good(&["remove storage.lab.app_secret"]);
    }
}

#[test]
fn an_input_that_ends_is_no_code() {
    let stage = Stage::new(FILE);
    stage.run(&[], "", |_| None).assert_failed(2, &["no code came on the standard input"]);
    stage.run(&[], "", |_| Some("  \n".to_owned())).assert_failed(2, &["no code came"]);
    stage.run(&["--with-secret"], "\n", |_| None).assert_failed(2, &["no secret came"]);
    assert_eq!(stage.server.calls(), []);
}

#[test]
fn answers_that_fail_for_a_while_are_waited_for() {
    let stage = Stage::new(FILE);
    stage.server.fail("oauth2/token", 1, When::Before, Fault::Reset);
    stage.server.fail("oauth2/token", 1, When::Before, Fault::Status(503));
    stage.server.fail("files/upload", 1, When::After, Fault::Reset);
    stage.server.fail("files/delete_v2", 1, When::After, Fault::Status(502));
    let (run, _) = stage.agree(&[], "");
    run.assert_good(&["ada@example.org"]);
    stage.assert_nothing_is_left();

    stage.server.fail("oauth2/token", 1, When::After, Fault::Reset);
    let (run, _) = stage.agree(&[], "");
    run.assert_failed(2, &["the answer to the code was lost"]);

    stage.configure(&format!("{FILE}\ntimeout_s = 1"));
    let run = stage.run(&[], "", |url| {
        let code = stage.server.approve(url).unwrap();
        stage.server.set_down(true);
        Some(code)
    });
    run.assert_failed(69, &["the code cannot be exchanged"]);
}

#[test]
fn the_storage_that_is_meant_has_to_be_clear() {
    let stage = Stage::new(FILE);
    let (key, url) = (stage.server.app_key(), stage.server.url());
    let second = format!("{FILE}\n[storage.second]\ntype = 'dropbox'\napp_key = '{key}'\nendpoint = '{url}'\n");
    stage
        .configure(&format!("{second}refresh_token_file = 'second'\n[storage.files]\ntype = 'local'\nbase_path = 'x'"));
    stage.run(&[], "", |_| panic!("there is no page")).assert_failed(2, &["several", "--storage"]);
    let files = ["--storage", "files"];
    stage.run(&files, "", |_| panic!("there is no page")).assert_failed(2, &["no storage files of type dropbox"]);
    let (run, _) = stage.agree(&["--storage", "second"], "");
    run.assert_good(&["ada@example.org"]);
    token_in(&stage.path("second"));
    let open = ["--storage", "second", "--endpoint", "http://dropbox.example.org"];
    stage.run(&open, "", |_| panic!("there is no page")).assert_failed(78, &["storage.second.endpoint"]);
}
