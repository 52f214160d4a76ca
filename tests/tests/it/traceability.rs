//! From use case to test: which ID leads to which, and which test shows it. Writes and checks `docs/traceability.md`.
//!
//! A test shows an ID by naming it in its documentation (`/// FR-OPS-001`) or in its name (`fr_ops_001_…`). Titles
//! stand in `docs/traceability/ids.toml`, links in `docs/traceability/links.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::layout::{files, read, root, shown};

const REPORT: &str = "docs/traceability.md";
/// The kinds in the order in which links lead: a link goes to a later kind only, so there is no circle.
const KINDS: &[(&str, u8, &str)] = &[
    ("UC", 0, "Use cases"),
    ("FR", 1, "Functions"),
    ("NFR", 2, "Qualities"),
    ("CON", 2, "Constraints"),
    ("ERR", 2, "Errors"),
    ("API", 2, "Interfaces for applications"),
    ("IF", 2, "Interfaces for people"),
    ("RT", 2, "Run-time views"),
    ("CC", 2, "Cross-cutting rules"),
    ("FC", 2, "Later"),
];

/// The specification's names and what was said about them.
struct Trace {
    titles: BTreeMap<String, String>,
    missing: BTreeMap<String, String>,
    links: BTreeMap<String, Vec<String>>,
    assumed: BTreeMap<String, String>,
    /// What binds the making of the product, not a function of it.
    making: BTreeMap<String, String>,
    /// For each ID, the tests that show it: `file` — `test`.
    shown_by: BTreeMap<String, BTreeSet<String>>,
}

/// The report says what is so; `UPDATE_DOCS=1` writes it anew.
#[test]
fn the_traceability_report_is_current() {
    let (path, report) = (root().join(REPORT), Trace::read().report());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &report).expect("the report can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = found.lines().zip(report.lines()).find(|(old, new)| old != new);
    assert!(
        found == report,
        "{REPORT} is not current (first difference: {difference:?}); write it anew with\n  \
         UPDATE_DOCS=1 cargo test -p tests --test it traceability"
    );
}

#[test]
fn every_link_leads_from_a_known_id_to_a_known_id_of_a_later_kind() {
    let trace = Trace::read();
    for (from, targets) in &trace.links {
        assert!(trace.titles.contains_key(from), "{from} is no ID of the specification");
        let mut seen = BTreeSet::new();
        for to in targets {
            assert!(
                trace.titles.contains_key(to),
                "{from} leads to {to}, which is no ID of the specification"
            );
            assert!(rank(from) < rank(to), "{from} leads back to {to}");
            assert!(rank(to) == rank(from) + 1, "{from} leads to {to} past the functions between them");
            assert!(seen.insert(to), "{from} leads to {to} twice");
        }
    }
}

#[test]
fn no_function_stands_without_a_use_case_and_no_error_or_interface_without_a_function() {
    let trace = Trace::read();
    let reached: BTreeSet<&String> = trace.links.values().flatten().collect();
    for id in trace.titles.keys() {
        match kind(id) {
            "UC" => assert!(trace.links.contains_key(id), "{id} leads to no function"),
            "NFR" | "CON" if trace.making.contains_key(id) => {}
            "FR" | "ERR" | "API" | "NFR" | "CON" | "IF" | "RT" => {
                assert!(reached.contains(id), "nothing leads to {id}");
            }
            _ => {}
        }
    }
    for id in trace.assumed.keys() {
        assert!(reached.contains(id), "{id} is said to be assumed, but nothing leads to it");
    }
}

/// IDs are the specification's; nobody invents or renumbers one. Those without a text are shown by no test.
#[test]
fn no_source_or_page_names_an_id_that_the_specification_does_not_have() {
    let trace = Trace::read();
    for file in files("", &["rs", "md", "sql", "sh", "toml"]) {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            for id in ids_in(line) {
                let known = trace.titles.contains_key(id) || trace.missing.contains_key(id);
                assert!(known, "{}:{} names {id}, which is no ID", shown(&file).display(), number + 1);
            }
        }
    }
    for id in trace.missing.keys() {
        assert!(!trace.shown_by.contains_key(id), "a test shows {id}, which has no text");
        assert!(!trace.titles.contains_key(id), "{id} is missing and has a title");
    }
}

#[test]
fn a_test_is_found_with_the_ids_of_its_documentation_and_its_name() {
    let source = concat!(
        "/// FR-OPS-001, and of FR-",
        "OPS-0011 nothing\n",
        "#[tokio::test(flavor = \"multi_thread\")]\n",
        "async fn a_suspended_tenant_is_denied() {}\n",
        "\n",
        "/// FR-OPS-002\n",
        "fn no_test() {}\n",
        "#[test]\n",
        "fn err_val_400_names_the_field() {}\n",
    );
    let titles = ["FR-OPS-001", "FR-OPS-002", "ERR-VAL-400"].map(|id| (id.to_owned(), String::new())).into();
    let found: Vec<_> = tests_in(source, &titles).into_iter().map(|(name, ids)| (name, ids.len())).collect();
    assert_eq!(
        found,
        [("a_suspended_tenant_is_denied".to_owned(), 1), ("err_val_400_names_the_field".to_owned(), 1)]
    );
}

impl Trace {
    fn read() -> Self {
        let ids = read(&root().join("docs/traceability/ids.toml"));
        let links = read(&root().join("docs/traceability/links.toml"));
        let titles = section(&ids, "titles");
        let mut shown_by: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in files("", &["rs"]) {
            let path = shown(&file);
            for (test, ids) in tests_in(&read(&file), &titles) {
                for id in ids {
                    shown_by.entry(id).or_default().insert(format!(
                        "`{}` — {}",
                        path.display(),
                        spoken(&test)
                    ));
                }
            }
        }
        let list = |text: String| -> Vec<String> {
            let inner = text.trim_start_matches('[').trim_end_matches(']');
            inner.split(',').map(|it| it.trim().trim_matches('"').to_owned()).collect()
        };
        Self {
            missing: section(&ids, "missing"),
            links: section(&links, "links").into_iter().map(|(id, text)| (id, list(text))).collect(),
            assumed: section(&links, "assumed"),
            making: section(&links, "making"),
            titles,
            shown_by,
        }
    }

    fn report(&self) -> String {
        let mut page = String::from(
            "# Traceability\n\n\
             Generated from the tests, `docs/traceability/ids.toml` and `docs/traceability/links.toml`; a test keeps it\n\
             current. Write it anew with `UPDATE_DOCS=1 cargo test -p tests --test it traceability`.\n\n\
             A test shows an ID by naming it in its documentation. \"Not yet\" means that no test names it: it may be\n\
             unbuilt, or built and not shown.\n\n## Summary\n\n| Kind | IDs | shown by a test | not yet |\n|---|--:|--:|--:|\n",
        );
        for (kind_name, _, title) in KINDS {
            let ids: Vec<_> = self.titles.keys().filter(|id| kind(id) == *kind_name).collect();
            let done = ids.iter().filter(|id| self.shown_by.contains_key(**id)).count();
            let _ =
                writeln!(page, "| {title} ({kind_name}) | {} | {done} | {} |", ids.len(), ids.len() - done);
        }
        page.push_str("\n## Gaps of the specification\n\n");
        for (id, reason) in &self.missing {
            let _ =
                writeln!(page, "- **{id}** — {reason}. Nothing is built for it and no test may claim it.");
        }
        page.push_str("\nLinks that are our reading:\n\n");
        for (id, reason) in &self.assumed {
            let _ = writeln!(page, "- **{id}** — {reason}.");
        }
        page.push_str("\nWhat binds the making, and no function leads to:\n\n");
        for (id, reason) in &self.making {
            let _ = writeln!(page, "- {} **{id}** — {reason}.", self.mark(id));
        }
        page.push_str("\n## From use case to function to what binds it\n");
        for (id, title) in self.titles.iter().filter(|(id, _)| kind(id) == "UC") {
            let _ = writeln!(page, "\n- {} **{id}** {title}", self.mark(id));
            for function in &self.links[id] {
                let bound: Vec<_> = self
                    .links
                    .get(function)
                    .into_iter()
                    .flatten()
                    .map(|to| format!("{to} {}", self.mark(to)))
                    .collect();
                let _ = writeln!(
                    page,
                    "  - {} {function} {} → {}",
                    self.mark(function),
                    self.titles[function],
                    bound.join(", ")
                );
            }
        }
        page.push_str("\n● a test shows it, ○ not yet.\n");
        for (kind_name, _, title) in KINDS {
            let _ = writeln!(page, "\n## {title}\n\n| ID | Title | Shown by |\n|---|---|---|");
            let all = self.titles.iter().chain(&self.missing).filter(|(id, _)| kind(id) == *kind_name);
            for (id, title) in all.collect::<BTreeMap<_, _>>() {
                let tests = match self.shown_by.get(id) {
                    Some(tests) => tests.iter().cloned().collect::<Vec<_>>().join("<br>"),
                    None if self.missing.contains_key(id) => "**missing in the specification**".to_owned(),
                    None => "not yet".to_owned(),
                };
                let _ = writeln!(page, "| {id} | {title} | {tests} |");
            }
        }
        page
    }

    fn mark(&self, id: &str) -> &'static str {
        if self.shown_by.contains_key(id) { "●" } else { "○" }
    }
}

fn kind(id: &str) -> &str {
    id.split('-').next().unwrap_or_default()
}

fn rank(id: &str) -> u8 {
    KINDS.iter().find(|(name, ..)| *name == kind(id)).map_or(u8::MAX, |(_, rank, _)| *rank)
}

/// `KEY = value` lines of one section, quotes taken off.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            inside = line == format!("[{name}]");
        } else if inside {
            let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("no entry: {line}"));
            let before = found.insert(key.to_owned(), value.trim_matches('"').to_owned());
            assert!(before.is_none(), "{key} is there twice");
        }
    }
    found
}

/// Every word of a line that has the form of an ID.
fn ids_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).filter(|word| {
        let mut parts = word.split('-');
        let known_kind = parts.next().is_some_and(|first| KINDS.iter().any(|(name, ..)| *name == first));
        let rest: Vec<_> = parts.collect();
        let shouted = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        };
        known_kind && !rest.is_empty() && rest.iter().all(shouted)
    })
}

/// The tests of a source file, each with the IDs it shows; those that show none are left out.
fn tests_in(source: &str, titles: &BTreeMap<String, String>) -> Vec<(String, BTreeSet<String>)> {
    let mut found = Vec::new();
    let (mut documentation, mut is_test) = (String::new(), false);
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            documentation.push_str(text);
            documentation.push('\n');
        } else if line.starts_with("#[") {
            let attribute = line.trim_start_matches("#[").split(['(', ']']).next().unwrap_or_default();
            is_test |= matches!(attribute, "test" | "tokio::test" | "rstest");
        } else {
            let name = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next());
            if let (true, Some(name)) = (is_test, name) {
                let named = |id: &&String| {
                    let word = id.to_lowercase().replace('-', "_");
                    format!("_{name}_").contains(&format!("_{word}_"))
                };
                let mut ids: BTreeSet<String> = titles.keys().filter(named).cloned().collect();
                ids.extend(ids_in(&documentation).filter(|id| titles.contains_key(*id)).map(str::to_owned));
                if !ids.is_empty() {
                    found.push((name.to_owned(), ids));
                }
            }
            documentation.clear();
            is_test = false;
        }
    }
    found
}

/// A test's name as the sentence it is.
fn spoken(name: &str) -> String {
    name.replace('_', " ")
}
