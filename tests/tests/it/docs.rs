//! The documentation holds what it says: links lead somewhere, named files exist, decisions have their form, and the
//! README's first five minutes are what `examples/quickstart.sh` runs.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::layout::{files, read, root, shown};

const QUICKSTART: &str = "examples/quickstart.sh";

#[test]
fn every_link_between_documents_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        for target in links(&text) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            let path =
                page.parent().expect("a page lies somewhere").join(target.split('#').next().unwrap_or(""));
            assert!(path.exists(), "{} links to {target}, which is not there", shown(&page).display());
        }
    }
}

/// A recipe that names a file which was moved is worse than none.
#[test]
fn every_file_that_the_documents_name_exists() {
    for page in pages() {
        let text = read(&page);
        for name in code_spans(&text).filter(|span| is_file_of_ours(span)) {
            assert!(
                root().join(name).exists(),
                "{} names {name}, which is not there",
                shown(&page).display()
            );
        }
    }
}

#[test]
fn every_decision_has_the_form_of_a_decision() {
    let records: Vec<PathBuf> =
        files("docs/adr", &["md"]).into_iter().filter(|it| !it.ends_with("README.md")).collect();
    let index = read(&root().join("docs/adr/README.md"));
    assert!(!records.is_empty());
    for record in records {
        let (text, name) = (read(&record), shown(&record));
        let title = text.lines().next().unwrap_or_default();
        let id = title.strip_prefix("# [").and_then(|rest| rest.split(']').next()).unwrap_or_default();
        let parts: Vec<&str> = id.split('-').collect();
        let well_formed = matches!(parts[..], ["ADR", category, number]
            if category.bytes().all(|b| b.is_ascii_uppercase()) && number.len() == 3 && number.parse::<u16>().is_ok());
        assert!(well_formed, "{} is titled {title}", name.display());
        for part in ["## Context", "## Decision", "## Consequences", "## What was measured or looked up"] {
            assert!(text.contains(part), "{} has no {part}", name.display());
        }
        let file_name = record.file_name().and_then(|it| it.to_str()).expect("a name");
        assert!(index.contains(&format!("[{id}]({file_name})")), "docs/adr/README.md does not list {id}");
    }
}

/// The README is typed by hand; the script is run by every build. They must not drift apart.
#[test]
fn the_first_five_minutes_are_what_the_quickstart_runs() {
    let readme = read(&root().join("README.md"));
    let section = readme.split("## The first five minutes").nth(1).expect("the README has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let script = read(&root().join(QUICKSTART));
    let mut lines = script.lines().map(str::trim);
    let mut count = 0;
    for block in section.split("```sh\n").skip(1) {
        let block = block.split("\n```").next().unwrap_or_default();
        for line in block.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(lines.any(|it| it == line), "{QUICKSTART} lacks, or has in another place: {line}");
            count += 1;
        }
    }
    assert!(count > 20, "the section shows {count} lines only");
}

/// UC-PROV-001, UC-TENANT-SUSPEND, UC-SYS-APP-AUTH: what the README promises, by the binaries, on an empty directory.
#[test]
fn the_quickstart_works_against_a_fresh_server() {
    let server = FreshServer::start();
    let run = quiet(Command::new("bash").arg(root().join(QUICKSTART)))
        .env("TENANTRY_BIN", binaries())
        .env("TENANTRY_URL", &server.url)
        .env("TENANTRY_DATA_DIR", server.data_dir.path())
        .output()
        .expect("bash runs");
    assert!(
        run.status.success(),
        "{}\n{}\nthe server said:\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
        server.log()
    );
}

#[test]
fn the_five_run_time_views_are_drawn() {
    let text = read(&root().join("docs/ARCHITECTURE.md"));
    for number in 1..=5 {
        let view = format!("RT-{number:03}");
        let rest = text.split(&format!("### {view}")).nth(1).unwrap_or_else(|| panic!("{view} is missing"));
        let rest = rest.split("\n### ").next().unwrap_or_default();
        assert!(rest.contains("```mermaid\nsequenceDiagram"), "{view} is not drawn");
    }
}

/// A server with a data directory and a PostgreSQL of its own, both gone when it is dropped.
struct FreshServer {
    process: Child,
    data_dir: tempfile::TempDir,
    url: String,
    /// Kept open: a server whose output nobody takes any more can't print.
    said: BufReader<ChildStdout>,
}

impl FreshServer {
    fn start() -> Self {
        // The user PostgreSQL runs as when we are root has to pass through.
        let passable = std::fs::Permissions::from_mode(0o711);
        let data_dir =
            tempfile::Builder::new().permissions(passable).tempdir().expect("a directory can be made");
        let log = std::fs::File::create(data_dir.path().join("server.log")).expect("a log can be made");
        let mut process = quiet(&mut Command::new(binaries().join("tenantry")))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir.path())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server is built: cargo build --workspace --bins");
        let said = BufReader::new(process.stdout.take().expect("its output is ours"));
        let mut server = Self { process, data_dir, url: String::new(), said };
        let address = server
            .said
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().strip_prefix("API").map(|address| address.trim().to_owned()));
        server.url = address.unwrap_or_else(|| panic!("the server did not start:\n{}", server.log()));
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for FreshServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let destroyed = quiet(&mut Command::new(binaries().join("cluster")))
            .args(["destroy", "--yes", "--data-dir"])
            .arg(self.data_dir.path())
            .output();
        if let Err(error) = destroyed {
            eprintln!("the test's cluster could not be removed: {error}");
        }
    }
}

/// Without what the shell of whoever runs the tests happens to hold.
fn quiet(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name == "DATABASE_URL" || (name.starts_with("TENANTRY_") && !name.starts_with("TENANTRY_PG_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Where the binaries of this build are.
fn binaries() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.parent().and_then(Path::parent).expect("tests lie in deps").to_owned()
}

/// Mermaid takes a semicolon for the end of a statement, and draws nothing.
#[test]
fn no_drawing_holds_a_semicolon() {
    for page in pages() {
        let text = read(&page);
        for drawing in text.split("```mermaid").skip(1).filter_map(|rest| rest.split("```").next()) {
            assert!(!drawing.contains(';'), "{} holds one in: {drawing}", shown(&page).display());
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = files("docs", &["md"]);
    pages.push(root().join("README.md"));
    pages
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between single backticks on one line.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// True for a path into the repository that is no pattern.
fn is_file_of_ours(span: &str) -> bool {
    const TOP: &[&str] = &[
        "kernel/",
        "schemas/",
        "engine/",
        "aggregates/",
        "projections/",
        "workflows/",
        "gateway/",
        "replay/",
        "tests/",
        "benches/",
        "deploy/",
        "docs/",
        "scripts/",
        "examples/",
    ];
    TOP.iter().any(|top| span.starts_with(top))
        && !span.contains(['*', '{', '<', ' ', '…'])
        && (Path::new(span).extension().is_some() || span.ends_with('/'))
}
