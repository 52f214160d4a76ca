//! Prints `docs/events.md`.

fn main() {
    print!("{}", schemas::catalogue::events_md());
}
