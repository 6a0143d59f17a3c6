//! The configuration: what is refused in which words, what the defaults are, and that sample and schema are up to date.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use qspool::config::{Config, ConfigError, SourceFile, Sources, sample, schema};
use qspool::job::StorageName;
use qspool::storage::MediumOptions;

const HOME: (&str, &str) = ("HOME", "/home/ada");

fn sources(file: Option<&str>, variables: &[(&str, &str)]) -> Sources {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources {
        private_jwk: None,
        file: file.map(|text| SourceFile { path: "etc/qspool.toml".into(), text: text.to_owned() }),
        variables: variables.iter().map(text).collect(),
        directory: "/lab".into(),
        credentials: BTreeMap::new(),
    }
}

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(&sources(Some(file), variables))
}

/// Loads a file and compares the whole error, or `good`.
#[track_caller]
fn check(file: &str, variables: &[(&str, &str)], expected: &[&str]) {
    let found = match load(file, &[variables, &[HOME]].concat()) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "file {file:?}, variables {variables:?}");
}

fn base_path(config: &Config, name: &str) -> String {
    let MediumOptions::Local(options) = &config.storages[&name.parse().unwrap()].medium else {
        panic!("{name} is local")
    };
    options.base_path.to_str().unwrap().to_owned()
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    check(
        "\n\n[backend.fermions]\nshema = 'fermions'\n",
        &[],
        &["etc/qspool.toml:4: unknown key \"backend.fermions.shema\"", "hint: did you mean \"schema\"?"],
    );
    check("[loggg]", &[], &["etc/qspool.toml:1: unknown key \"loggg\"", "hint: did you mean \"log\"?"]);
    check(
        "log.\"a\\nb\" = 1",
        &[],
        &["etc/qspool.toml:1: unknown key \"log.\\\"a\\\\nb\\\"\"", "hint: allowed here: \"format\", \"level\""],
    );
    check(
        "[storage.lab]\ntype = 'local'\nbase_path = '/srv'\nbase_pth = '/srv'",
        &[],
        &["etc/qspool.toml:4: unknown key \"storage.lab.base_pth\"", "hint: did you mean \"base_path\"?"],
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    let one = |file: &str, expected: &str| check(file, &[], &[expected]);
    one("\n[spooler]\nlease_s = 0", "etc/qspool.toml:3: spooler.lease_s is 0; allowed: 1 to 3600");
    one("[spooler]\nlease_s = 3601", "etc/qspool.toml:2: spooler.lease_s is 3601; allowed: 1 to 3600");
    one("spooler.lease_s = 0x10000", "etc/qspool.toml:1: spooler.lease_s is 65536; allowed: 1 to 3600");
    let integer =
        |value: &str| format!("etc/qspool.toml:1: spooler.lease_s is {value}; allowed: a whole number, 1 to 3600");
    for value in ["\"soon\"", "60.0", "true", "[60]"] {
        one(&format!("spooler.lease_s = {value}"), &integer(value));
    }
    one("spooler.lease_s = {a = 1}", &integer("a table"));
    one("spooler = 3", "etc/qspool.toml:1: spooler is 3; allowed: a table");
    one("storage = 3", "etc/qspool.toml:1: storage is 3; allowed: a table");
    one("backend.fermions = 3", "etc/qspool.toml:1: backend.fermions is 3; allowed: a table");
    one("log.format = 'xml'", "etc/qspool.toml:1: log.format is \"xml\"; allowed: \"text\", \"json\", \"journald\"");
    one("schemas.directory = 1", "etc/qspool.toml:1: schemas.directory is 1; allowed: a text in quotes");
    one(
        "backend.fermions.storage = 'lab'",
        "etc/qspool.toml:1: backend.fermions.storage is \"lab\"; allowed: a list, such as [\"a\", \"b\"]",
    );
    one(
        "backend.fermions.storage = []",
        "etc/qspool.toml:1: backend.fermions.storage is []; allowed: a list of at least 1",
    );
    one(
        "backend.fermions.storage = ['local',\n'local']",
        "etc/qspool.toml:1: backend.fermions.storage is [\"local\",\"local\"]; allowed: each name once",
    );
    one(
        "backend.fermions.storage = [\n'local',\n1]",
        "etc/qspool.toml:3: backend.fermions.storage[1] is 1; allowed: a text in quotes",
    );
    one("log.level = 2026-11-22", "etc/qspool.toml:1: log.level is 2026-11-22; no key takes that");
    one("spooler.lease_s = nan", "etc/qspool.toml:1: spooler.lease_s is nan; no key takes that");
    one(
        "spooler.lease_s = 99999999999999999999",
        "etc/qspool.toml:1: spooler.lease_s is 99999999999999999999; no key takes that",
    );
    one(
        "[log]\nlevel = 'inof'",
        "etc/qspool.toml:2: log.level: \"inof\" is not a log level; allowed: off, error, warn, info, debug, trace, \
         or a list such as \"info,qspool::spooler=debug\"",
    );
}

#[test]
fn a_long_value_is_shown_only_in_part() {
    let file = format!("log.format = '{}'", "x".repeat(10_000));
    let error = load(&file, &[HOME]).unwrap_err().to_string();
    assert!(error.len() < 200, "{error}");
}

#[test]
fn a_name_that_is_not_allowed_is_refused() {
    let allowed = "is not allowed; allowed: 1 to 64 lower-case letters and digits";
    let expected = format!("etc/qspool.toml:1: backend.Fermions: backend name \"Fermions\" {allowed}");
    check("[backend.Fermions]", &[], &[&expected]);
    let expected = format!("etc/qspool.toml:1: storage.\"../x\": storage name \"../x\" {allowed}");
    check("[storage.'../x']\ntype = 'local'\nbase_path = '/srv'", &[], &[&expected]);
    let expected = format!("etc/qspool.toml:2: backend.fermions.storage[0]: storage name \"a-b\" {allowed}");
    check("[backend.fermions]\nstorage = ['a-b']", &[], &[&expected]);
}

#[test]
fn an_odd_name_does_not_hide_the_place() {
    let one = |file: &str, expected: &str| check(file, &[], &[expected]);
    let allowed = "allowed: a whole number, 1 to 1024";
    one("\nbackend.0.workers = 'a'", &format!("etc/qspool.toml:2: backend.0.workers is \"a\"; {allowed}"));
    one("\nbackend.'a/~b'.workers = 'a'", &format!("etc/qspool.toml:2: backend.\"a/~b\".workers is \"a\"; {allowed}"));
    one("\nbackend.''.workers = 0", "etc/qspool.toml:2: backend.\"\".workers is 0; allowed: 1 to 1024");
}

#[test]
fn a_storage_must_say_what_and_where_it_is() {
    check(
        "[storage.lab]",
        &[],
        &["etc/qspool.toml:1: storage.lab has no key \"type\"; allowed: \"local\", \"mongodb\", \"dropbox\""],
    );
    check(
        "[storage.lab]\ntype = 'tape'\nreel = 4",
        &[],
        &[
            "etc/qspool.toml:2: storage.lab.type is \"tape\"; allowed: \"local\", \"mongodb\", \"dropbox\"",
            "etc/qspool.toml:3: unknown key \"storage.lab.reel\"",
            "hint: allowed here: \"type\", \"base_path\", \"mongodb_username\", \"mongodb_password\", \
             \"mongodb_password_file\", \"mongodb_database_url\", \"mongodb_database_url_file\", \"ca_file\", \
             \"timeout_s\", \"app_key\", \"app_secret\", \"app_secret_file\", \"refresh_token\", \
             \"refresh_token_file\", \"endpoint\", \"active\", \"owner\", \"description\"",
        ],
    );
    check("\n[storage.lab]\ntype = 'local'", &[], &["etc/qspool.toml:2: storage.lab has no key \"base_path\""]);
}

#[test]
fn a_backend_must_name_storages_that_there_are() {
    let storage = "[storage.lab]\ntype = 'local'\nbase_path = '/srv'\n";
    check(&format!("{storage}[backend.fermions]\nstorage = ['lab']"), &[], &["good"]);
    check(
        &format!("{storage}[backend.fermions]\nstorage = [\n  'lab', 'labb']"),
        &[],
        &[
            "etc/qspool.toml:6: backend.fermions.storage[1] is \"labb\"; there is no storage of this name",
            "hint: did you mean \"lab\"?",
        ],
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    check("[log]\nlevel = 'info\n", &[], &["etc/qspool.toml:2: invalid literal string, expected `'`"]);
    check("[log]\n\n[log]", &[], &["etc/qspool.toml:3: duplicate key"]);
}

#[test]
fn a_table_that_is_nested_without_end_is_refused() {
    let deep = |piece: &str| format!("{} = 1", vec![piece; 100_000].join("."));
    assert!(load(&deep("a"), &[HOME]).is_err());
    assert!(load(&format!("a = {}", "[".repeat(100_000)), &[HOME]).is_err());
    assert!(load(&format!("a = {}", "{b=".repeat(100_000)), &[HOME]).is_err());
    assert!(load("", &[HOME, ("QSPOOL_BACKEND_A_STORAGE", &"[".repeat(100_000))]).is_err());
}

#[test]
fn all_problems_are_told_at_once_in_their_order() {
    check(
        "[spooler]\nlease_s = 0\nleases = 1\n[log]\nformat = 1",
        &[("QSPOOL_LOG_LEVEL_", "x"), ("QSPOOL_SPOOLER_MAX_ATTEMPTS", "0")],
        &[
            "etc/qspool.toml:2: spooler.lease_s is 0; allowed: 1 to 3600",
            "etc/qspool.toml:3: unknown key \"spooler.leases\"",
            "hint: did you mean \"lease_s\"?",
            "etc/qspool.toml:5: log.format is 1; allowed: \"text\", \"json\", \"journald\"",
            "environment variable QSPOOL_LOG_LEVEL_: no such setting",
            "hint: did you mean \"QSPOOL_LOG_LEVEL\"?",
            "environment variable QSPOOL_SPOOLER_MAX_ATTEMPTS: spooler.max_attempts is 0; allowed: 1 to 100",
        ],
    );
}

#[test]
fn a_variable_overrides_the_file() {
    let file = "[spooler]\nlease_s = 7\nmax_attempts = 9\n[storage.lab]\ntype = 'local'\nbase_path = '/srv'";
    let variables = [
        ("QSPOOL_CONFIG", "etc/qspool.toml"),
        ("QSPOOL_SPOOLER_LEASE_S", "8"),
        ("QSPOOL_STORAGE_LAB_BASE_PATH", "data"),
        ("QSPOOL_STORAGE_LAB_OWNER", "true"),
        ("QSPOOL_BACKEND_FERMIONS_STORAGE", "[\"lab\"]"),
        ("QSPOOL_BACKEND_FERMIONS_SCHEMA", "mine.json"),
        ("LESS", "-R"),
    ];
    let config = load(file, &variables).unwrap();
    assert_eq!((config.spooler.lease_s, config.spooler.max_attempts), (8, 9));
    assert_eq!(base_path(&config, "lab"), "/lab/data");
    assert_eq!(config.storages[&"lab".parse().unwrap()].owner, "true");
    let backend = &config.backends.unwrap()[&"fermions".parse().unwrap()];
    assert_eq!(backend.storage.as_deref(), Some(["lab".parse().unwrap()].as_slice()));
    assert_eq!(backend.schema.as_ref().unwrap().to_string(), "/lab/mine.json");
    assert_eq!(config.origin.variables.len(), 5);
}

#[test]
fn a_wrong_variable_is_refused() {
    let one = |name: &str, value: &str, expected: &[&str]| check("", &[(name, value)], expected);
    let allowed = "allowed: a whole number, 1 to 3600";
    let name = "QSPOOL_SPOOLER_LEASE_S";
    let expected = |value: &str| format!("environment variable {name}: spooler.lease_s is {value}; {allowed}");
    one(name, "soon", &[&expected("\"soon\"")]);
    one(name, "1.5", &[&expected("1.5")]);
    one(name, "1 # one", &[&expected("\"1 # one\"")]);
    let unknown = |name: &str| format!("environment variable {name}: no such setting");
    one(
        "QSPOOL_BACKEND_FERMIONS_WORKER",
        "1",
        &[&unknown("QSPOOL_BACKEND_FERMIONS_WORKER"), "hint: did you mean \"QSPOOL_BACKEND_FERMIONS_WORKERS\"?"],
    );
    one("QSPOOL_LOG_level", "info", &[&unknown("QSPOOL_LOG_level"), "hint: did you mean \"QSPOOL_LOG_LEVEL\"?"]);
    let form = "hint: the form is QSPOOL_<SECTION>_<KEY>, as in QSPOOL_SPOOLER_LEASE_S";
    one("QSPOOL_BACKEND", "1", &[&unknown("QSPOOL_BACKEND"), form]);
    one(
        "QSPOOL_BACKEND_FERMIONS",
        "1",
        &[&unknown("QSPOOL_BACKEND_FERMIONS"), "hint: did you mean \"QSPOOL_BACKEND_FERMIONS_SIGN\"?"],
    );
}

#[test]
fn a_credential_of_the_service_is_the_file_of_its_secret_unless_the_key_is_set() {
    let database = |more: &str| format!("[storage.lab]\ntype = 'mongodb'\nmongodb_username = 'ada'\n{more}");
    let password = |more: &str| {
        let name = "storage.lab.mongodb_password".to_owned();
        let credentials = [(name, "/run/credentials/qspool/it".into())].into();
        let config = Config::load(&Sources { credentials, ..sources(Some(&database(more)), &[HOME]) }).unwrap();
        let MediumOptions::Mongodb(options) = config.storages[&"lab".parse().unwrap()].medium.clone() else {
            panic!("it is a database")
        };
        (options.mongodb_password.map(|secret| secret.expose().to_owned()), options.mongodb_password_file)
    };
    assert_eq!(password(""), (None, Some("/run/credentials/qspool/it".into())));
    assert_eq!(password("mongodb_password = 'x'"), (Some("x".to_owned()), None));
    assert_eq!(password("mongodb_password_file = '/p'"), (None, Some("/p".into())));
}

#[test]
fn a_secret_is_never_repeated_whatever_is_wrong_with_it() {
    for value in ["1234567", "2026-11-22", "99999999999999999999", "['1234567']", "{ '1234567' = 1 }", "1234567.5"] {
        let file = format!("[storage.lab]\ntype = 'mongodb'\nmongodb_password = {value}");
        let error = load(&file, &[HOME]).unwrap_err().to_string();
        assert!(error.contains("storage.lab.mongodb_password is a"), "{error}");
        assert!(!["1234567", "2026", "999"].iter().any(|part| error.contains(part)), "{error}");
    }
}

/// Where the documents lie without any configuration file.
#[track_caller]
fn check_default_storage(variables: &[(&str, &str)], expected: &str) {
    let found = match Config::load(&sources(None, variables)) {
        Ok(config) => format!("{} {}", config.default_storage().unwrap(), base_path(&config, "local")),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "{variables:?}");
}

#[test]
fn without_a_storage_there_is_a_local_one() {
    let state = ("STATE_DIRECTORY", "/var/lib/qspool:/var/lib/other");
    let data = ("XDG_DATA_HOME", "/data");
    check_default_storage(&[HOME], "local /home/ada/.local/share/qspool");
    check_default_storage(&[HOME, data], "local /data/qspool");
    check_default_storage(&[HOME, ("XDG_DATA_HOME", "data")], "local /home/ada/.local/share/qspool");
    check_default_storage(&[HOME, data, state], "local /var/lib/qspool");
    check_default_storage(&[HOME, ("QSPOOL_STORAGE_LOCAL_BASE_PATH", "here")], "local /lab/here");
    check_default_storage(&[("QSPOOL_STORAGE_LOCAL_BASE_PATH", "/here")], "local /here");
    check_default_storage(
        &[],
        "default configuration: no directory for the storage \"local\": neither STATE_DIRECTORY, XDG_DATA_HOME nor \
         HOME is set\nhint: set QSPOOL_STORAGE_LOCAL_BASE_PATH, or storage.local.base_path in a configuration file",
    );
}

#[test]
fn a_configured_storage_takes_the_place_of_the_default() {
    let config = load("[storage.lab]\ntype = 'local'\nbase_path = '../data'", &[HOME]).unwrap();
    assert_eq!(config.storages.len(), 1);
    assert_eq!(base_path(&config, "lab"), "/lab/etc/../data");
}

#[test]
fn the_default_storage_is_the_local_one_or_the_first_active_one() {
    let storage =
        |name: &str, active: bool| format!("[storage.{name}]\ntype = 'local'\nbase_path = '/srv'\nactive = {active}\n");
    let check = |storages: &[(&str, bool)], expected: Option<&str>| {
        let file: String = storages.iter().map(|(name, active)| storage(name, *active)).collect();
        let config = load(&file, &[]).unwrap();
        assert_eq!(config.default_storage().map(StorageName::as_str), expected, "{storages:?}");
    };
    check(&[("lab", true), ("local", true), ("z", true)], Some("local"));
    check(&[("lab", false), ("local", false), ("m", true), ("z", true)], Some("m"));
    check(&[("lab", false)], None);
}

#[test]
fn the_origin_says_where_settings_came_from() {
    let check = |file: Option<&str>, variables: &[(&str, &str)], expected: &str| {
        let config = Config::load(&sources(file, &[variables, &[HOME]].concat())).unwrap();
        assert_eq!(config.origin.to_string(), expected);
    };
    let level = ("QSPOOL_LOG_LEVEL", "debug");
    check(None, &[], "built-in defaults");
    check(Some(""), &[level], "etc/qspool.toml and the environment variable QSPOOL_LOG_LEVEL");
    check(
        None,
        &[level, ("QSPOOL_LOG_FORMAT", "json")],
        "built-in defaults and the environment variables QSPOOL_LOG_FORMAT, QSPOOL_LOG_LEVEL",
    );
}

#[test]
fn an_empty_file_and_no_file_are_the_defaults() {
    let mut of_file = load("", &[HOME]).unwrap();
    let of_nothing = Config::load(&sources(None, &[HOME])).unwrap();
    of_file.origin = of_nothing.origin.clone();
    assert_eq!(of_file, of_nothing);
    assert_eq!(of_nothing.backends, None);
}

#[test]
fn the_sample_sets_nothing() {
    let mut of_sample = load(&sample(), &[HOME]).unwrap();
    of_sample.origin = load("", &[HOME]).unwrap().origin;
    assert_eq!(of_sample, load("", &[HOME]).unwrap());
}

#[test]
fn the_sample_without_its_comment_signs_is_a_good_configuration() {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let file: Vec<_> = sample().lines().map(uncommented).collect();
    let mut config = load(&file.join("\n"), &[]).unwrap();
    let defaults = load("", &[HOME]).unwrap();
    // The only keys of these that are not set by default.
    assert!(config.spooler.retention_days.take().is_some());
    assert!(config.spooler.adopt_unleased_after_s.take().is_some());
    assert_eq!(base_path(&config, "local"), "/var/lib/qspool");
    assert_eq!(config.backends.unwrap()[&"fermions".parse().unwrap()].workers, 1);
    assert_eq!((config.spooler, config.log), (defaults.spooler, defaults.log));
}

/// Compares a file of the repository with what the code makes; with `UPDATE=1` it is written.
#[track_caller]
fn check_generated(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == made, "{name} is out of date; UPDATE=1 cargo test --test config writes it");
}

#[test]
fn the_sample_file_is_up_to_date() {
    check_generated("qspool.sample.toml", &sample());
}

#[test]
fn the_schema_file_is_up_to_date_and_a_schema() {
    let made = schema();
    assert!(jsonschema::meta::is_valid(&made));
    check_generated("schemas/config.json", &format!("{made:#}\n"));
}

#[test]
fn the_schema_accepts_what_the_loader_accepts() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let accepts =
        |file: &str| validator.is_valid(&serde_json::to_value(toml::from_str::<toml::Table>(file).unwrap()).unwrap());
    let files: BTreeMap<_, _> = [
        ("", true),
        ("[storage.lab]\ntype = 'local'\nbase_path = '/srv'\nactive = false", true),
        ("[storage.lab]\ntype = 'local'\nbase_path = '/srv'\nactiv = false", false),
        ("[storage.lab]\ntype = 'local'", false),
        ("[spooler]\nlease_s = 0", false),
        ("[log]\nformat = 'xml'", false),
        ("[backend.fermions]\nworkers = 1025", false),
    ]
    .into();
    for (file, good) in files {
        assert_eq!((accepts(file), load(file, &[HOME]).is_ok()), (good, good), "{file}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(file in "([a-z.\"'\\[\\]{}=,#\n0-9 -]|storage|backend|spooler|type|lease_s){0,60}") {
        load(&file, &[HOME]).ok();
    }

    #[test]
    fn no_variable_makes_the_loader_panic(name in "(_|STORAGE|BACKEND|LOG|LEVEL|A|WORKERS){0,8}", value in ".{0,20}") {
        load("", &[HOME, (&format!("QSPOOL_{name}"), &value)]).ok();
    }
}
