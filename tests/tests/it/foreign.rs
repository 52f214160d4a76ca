//! Servers that others wrote, each in a process of its own.

use std::path::Path;
use std::process::Command;

/// One of `tests/foreign`, with the Python that `scripts/install-foreign.sh` makes for it beside what cargo builds.
pub fn server(name: &str) -> Command {
    let test = std::env::current_exe().expect("this process has a binary");
    let target = test.ancestors().nth(3).expect("it lies in target/…/deps");
    let python = target.join("foreign").join(name).join("bin/python");
    assert!(python.exists(), "there is no {name} server to test with: run scripts/install-foreign.sh");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign").join(name).join("server.py"));
    command
}
