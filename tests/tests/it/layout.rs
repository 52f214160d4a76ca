//! The house keeps its shape: which crate may know which, and what a reader may rely on in every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of the workspace each one may depend on. `tests` and `benches` may know everything.
const ARROWS: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("cluster", &[]),
    ("schemas", &["kernel"]),
    ("engine", &["kernel"]),
    ("aggregates", &["kernel", "schemas"]),
    ("projections", &["kernel", "schemas", "engine"]),
    ("workflows", &["kernel", "schemas", "engine", "aggregates"]),
    ("gateway", &["kernel", "schemas", "engine", "aggregates", "projections", "workflows", "cluster"]),
    ("replay", &["kernel", "schemas", "engine", "aggregates", "projections", "workflows", "cluster"]),
];
/// The crates at the top, which no arrow leads to.
const TOP: &[&str] = &["tests", "benches"];

/// What a crate must not depend on, whatever it is for.
const ABSENT: &[(&str, &[&str], &str)] = &[
    (
        "aggregates",
        &[
            "tokio",
            "sqlx",
            "axum",
            "tokio-postgres",
            "deadpool-postgres",
            "reqwest",
            "rand",
            "ractor",
            "cqrs-es",
        ],
        "decisions are pure",
    ),
    (
        "kernel",
        &[
            "tokio",
            "sqlx",
            "axum",
            "tokio-postgres",
            "deadpool-postgres",
            "reqwest",
            "rand",
            "ractor",
            "cqrs-es",
        ],
        "the words all floors share do no I/O",
    ),
    ("engine", &["sqlx", "axum"], "the mechanism speaks PostgreSQL over one client and knows no HTTP"),
    ("schemas", &["tokio", "axum", "ractor", "cqrs-es", "tokio-postgres"], "a promise runs nothing"),
    ("projections", &["axum", "sqlx", "ractor"], "a read model knows no HTTP and no actor"),
    (
        "workflows",
        &["axum", "sqlx", "tokio-postgres", "deadpool-postgres"],
        "a process manager writes no table",
    ),
];

/// How many lines a source file may have; a longer one has a second thing inside.
const LINES_MAX: usize = 500;
/// Longer files, each with the number of lines it may have and the reason.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "aggregates/src/tenant.rs",
        590,
        "one aggregate in one file, in the fixed order; the tenant has by far the most commands",
    ),
    (
        "aggregates/src/user.rs",
        520,
        "as the tenant: a person is the other large aggregate; what they sign in with is beside it",
    ),
    ("gateway/src/settings.rs", 520, "every setting in one file, each with its help"),
    ("gateway/src/url_map.rs", 760, "every URL in one file; how they become routes is beside it"),
];

#[test]
fn the_arrows_between_the_crates_are_those_of_the_design() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ARROWS.iter().map(|(from, to)| (*from, to.iter().copied().collect())).collect();
    let packages = packages();
    let members: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let known: BTreeSet<&str> = allowed.keys().copied().chain(TOP.iter().copied()).collect();
    assert_eq!(members, known, "a crate of the workspace has no place in ARROWS, or the other way round");
    for (name, dependencies) in &packages {
        let Some(allowed) = allowed.get(name.as_str()) else { continue };
        let found: BTreeSet<_> =
            dependencies.iter().map(String::as_str).filter(|it| members.contains(it)).collect();
        let wrong: Vec<_> = found.difference(allowed).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}; allowed are {allowed:?}");
    }
}

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let packages = packages();
    for (name, absent, reason) in ABSENT {
        let found: Vec<_> = packages[*name].iter().filter(|it| absent.contains(&it.as_str())).collect();
        assert!(found.is_empty(), "{name} depends on {found:?}, but {reason}");
    }
}

#[test]
fn every_version_and_feature_stands_in_the_workspace_manifest() {
    for member in directories_of_members() {
        let text = read(&member.join("Cargo.toml"));
        let mut in_dependencies = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && !line.is_empty() && !line.starts_with('#') {
                let shown = member.join("Cargo.toml");
                assert!(line.ends_with(".workspace = true"), "{}: {line}", shown.display());
            }
        }
    }
}

#[test]
fn the_engine_names_no_event_and_no_read_model() {
    let events = schemas::catalogue::catalogue().into_iter().map(|it| it.name.event_type.to_owned());
    let tables = projections::all();
    // A name of one word, such as `flags`, means other things too.
    let tables =
        tables.iter().flat_map(|it| it.tables()).filter(|it| it.contains('_')).map(|it| (*it).to_owned());
    let crates = ["schemas", "aggregates", "projections", "workflows", "gateway"].map(|it| format!("{it}::"));
    let enums =
        ["TenantEvent", "UserEvent", "MembershipEvent", "ApplicationEvent", "PolicyEvent", "RoleEvent"]
            .map(str::to_owned);
    let words: Vec<String> = events.chain(tables).chain(crates).chain(enums).collect();
    for file in files("engine/src", &["rs", "sql"]) {
        let text = read(&file);
        // Documentation may give an example; code may not.
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            if let Some(word) = words.iter().find(|word| names(line, word)) {
                panic!("{}:{} names {word}: {line}", shown(&file).display(), number + 1);
            }
        }
    }
}

#[test]
fn aggregates_and_the_kernel_ask_no_clock_file_or_socket() {
    let banned = ["std::fs", "std::net", "std::thread", "std::env", "std::time::SystemTime", "async fn"];
    for file in files("aggregates/src", &["rs"]).into_iter().chain(files("kernel/src", &["rs"])) {
        let text = read(&file);
        for word in banned {
            assert!(!text.contains(word), "{} names {word}", shown(&file).display());
        }
    }
}

#[test]
fn no_source_file_is_longer_than_its_reason() {
    for file in files("", &["rs", "sql", "sh"]) {
        let (lines, path) = (read(&file).lines().count(), shown(&file));
        let exception = LONGER.iter().find(|(name, ..)| path == Path::new(name));
        let max = exception.map_or(LINES_MAX, |(_, max, _)| *max);
        assert!(
            lines <= max,
            "{} has {lines} lines, more than {max}: look for the second thing in it",
            path.display()
        );
    }
    for (name, _, reason) in LONGER {
        let lines = read(&root().join(name)).lines().count();
        assert!(lines > LINES_MAX, "{name} has only {lines} lines: it needs no exception ({reason})");
    }
}

#[test]
fn every_sql_file_begins_by_saying_why_it_exists() {
    for file in files("", &["sql"]) {
        let text = read(&file);
        let says = text.strip_prefix("-- ").is_some_and(|comment| comment.trim_start().len() > 10);
        assert!(says, "{} does not begin with a comment", shown(&file).display());
    }
}

#[test]
fn every_crate_and_module_begins_by_saying_what_it_is() {
    // The tests of a file that is documented itself need no introduction.
    for file in files("", &["rs"]).into_iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = read(&file);
        assert!(text.starts_with("//!"), "{} does not begin with its documentation", shown(&file).display());
    }
}

/// What was built on one machine must be buildable on every other.
#[test]
fn no_file_names_a_path_of_a_machine() {
    // Put together here, so that this file does not name them either.
    let paths = [["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"], ["C:", "\\"]].map(|it| it.concat());
    for file in files("", TEXT) {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            if let Some(path) = paths.iter().find(|path| line.contains(path.as_str())) {
                panic!("{}:{} names {path}: {line}", shown(&file).display(), number + 1);
            }
        }
    }
}

/// CON-DEV-002
#[test]
fn every_dependency_comes_from_the_public_registry() {
    for line in read(&root().join("Cargo.lock")).lines().filter(|line| line.starts_with("source = ")) {
        assert_eq!(line, "source = \"registry+https://github.com/rust-lang/crates.io-index\"");
    }
}

/// What people and tools write as text.
pub const TEXT: &[&str] = &["rs", "sql", "sh", "md", "toml", "json", "yaml", "yml", "html", "css", "js"];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the workspace").to_owned()
}

/// A path as people of the repository name it.
pub fn shown(path: &Path) -> PathBuf {
    path.strip_prefix(root()).unwrap_or(path).to_owned()
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a directory of the repository with one of these endings, in a fixed order; what is built or
/// belongs to git is left out.
pub fn files(below: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(below)];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        {
            let path = entry.expect("a directory can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | ".git" | "node_modules") {
                    directories.push(path);
                }
            } else if path.extension().and_then(|it| it.to_str()).is_some_and(|it| endings.contains(&it)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The crates of the workspace, each with what its manifest depends on, for whatever purpose.
fn packages() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
            (text(&package["name"]), dependencies.iter().map(|it| text(&it["name"])).collect())
        })
        .collect()
}

fn directories_of_members() -> Vec<PathBuf> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let manifests = packages.iter().map(|package| PathBuf::from(text(&package["manifest_path"])));
    manifests.map(|manifest| manifest.parent().expect("a manifest lies somewhere").to_owned()).collect()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo speaks JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("--")
}

/// True if the line holds the word as a whole: `flags` is not in `flag_memory` or `is_flags_like`.
fn names(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_name)
            && (word.ends_with("::") || !line[at + word.len()..].starts_with(part_of_name))
    })
}
