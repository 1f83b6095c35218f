//! `SCENARIOS.md`: which test shows which scenario. It is made from the names
//! of the tests, which end with the numbers of what they show.
//!
//! `COMETD_WRITE_SCENARIOS=1 cargo test --test scenario_table` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = include_str!("scenario/list.txt");
const REASONS: &str = include_str!("scenario/reasons.txt");

/// Numbers behind these words are no scenarios.
const OTHER_NUMBERS: [&str; 7] = [
    "contract", "design", "http", "status", "redirect", "rfc", "utf",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The numbers at the end of a test's name.
fn numbers(name: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for word in name.rsplit('_') {
        match word.parse() {
            Ok(number) if word.bytes().all(|byte| byte.is_ascii_digit()) => numbers.push(number),
            _ if OTHER_NUMBERS.contains(&word) => return Vec::new(),
            _ => break,
        }
    }
    numbers.reverse();
    numbers
}

/// The tests of a Rust source.
fn rust_tests(source: &str) -> Vec<&str> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if std::mem::take(&mut is_test) {
                tests.extend(rest.split('(').next());
            }
        }
    }
    tests
}

/// The tests of a C source: a line that begins with TEST(name), or for real
/// servers with CASE(name).
fn c_tests(source: &str) -> Vec<&str> {
    fn name(line: &str) -> Option<&str> {
        let line = line.trim_start();
        let rest = line.strip_prefix("TEST(").or(line.strip_prefix("CASE("))?;
        rest.split(')').next()
    }
    source.lines().filter_map(name).collect()
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

/// By number: the tests, as `file: name`.
fn covered() -> BTreeMap<u32, Vec<String>> {
    let mut sources = Vec::new();
    files(&root().join("src"), "rs", &mut sources);
    files(&root().join("tests/c"), "c", &mut sources);
    sources.push(root().join("tests/servers/cases.c"));
    for entry in fs::read_dir(root().join("tests")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|it| it == "rs") {
            sources.push(path);
        }
    }
    sources.sort();
    let mut covered: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for path in sources {
        let source = fs::read_to_string(&path).unwrap();
        let tests = match path.extension().and_then(|it| it.to_str()) {
            Some("c") => c_tests(&source),
            _ => rust_tests(&source),
        };
        let file = path.strip_prefix(root()).unwrap().display();
        for test in tests {
            for number in numbers(test) {
                let entry = format!("`{file}`: {test}");
                covered.entry(number).or_default().push(entry);
            }
        }
    }
    covered
}

fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().filter_map(|line| {
        let (number, rest) = line.split_once(' ')?;
        Some((number.parse().ok()?, rest))
    })
}

/// The table, and the scenarios with neither test nor reason.
fn table() -> (String, Vec<u32>) {
    let covered = covered();
    let reasons: BTreeMap<u32, &str> = numbered(REASONS).collect();
    let scenarios: Vec<(u32, &str)> = numbered(LIST).collect();
    let shown = scenarios
        .iter()
        .filter(|(number, _)| covered.contains_key(number))
        .count();
    let mut missing = Vec::new();
    let mut text = format!(
        "# Scenarios\n\n\
         What a client meets, and the tests that show what this one does. Made from the\n\
         names of the tests, which end with the numbers of what they show; do not edit:\n\
         `COMETD_WRITE_SCENARIOS=1 cargo test --test scenario_table` writes it.\n\
         S is the server's part, C the client's. Of {} scenarios {shown} have tests; a test\n\
         may show only a part of its scenario.\n",
        scenarios.len()
    );
    for line in LIST.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let _ = write!(text, "\n## {title}\n\n");
        }
        let Some((number, title)) = numbered(line).next() else {
            continue;
        };
        let _ = writeln!(text, "**{number}** {title}");
        match (covered.get(&number), reasons.get(&number)) {
            (Some(tests), _) => {
                for test in tests {
                    let _ = writeln!(text, "- {test}");
                }
            }
            (None, Some(reason)) => {
                let _ = writeln!(text, "- no test: {reason}");
            }
            (None, None) => {
                missing.push(number);
                let _ = writeln!(text, "- no test");
            }
        }
        text.push('\n');
    }
    while text.ends_with("\n\n") {
        text.pop();
    }
    (text.replace("\n\n\n", "\n\n"), missing)
}

#[test]
fn the_table_shows_what_the_tests_show() {
    let (table, missing) = table();
    assert!(
        missing.is_empty(),
        "neither a test nor a reason in tests/scenario/reasons.txt: {missing:?}"
    );
    let path = root().join("tests/SCENARIOS.md");
    if std::env::var_os("COMETD_WRITE_SCENARIOS").is_some() {
        fs::write(path, table).unwrap();
        return;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    let differences: Vec<String> = {
        let old: Vec<_> = committed.lines().collect();
        let new: Vec<_> = table.lines().collect();
        let gone = old.iter().filter(|line| !new.contains(line));
        let come = new.iter().filter(|line| !old.contains(line));
        gone.map(|line| format!("- {line}"))
            .chain(come.map(|line| format!("+ {line}")))
            .collect()
    };
    assert!(
        committed == table,
        "tests/SCENARIOS.md is not what the tests show; \
         COMETD_WRITE_SCENARIOS=1 cargo test --test scenario_table writes it:\n{}",
        differences.join("\n")
    );
}

#[test]
fn every_scenario_has_a_number_of_its_own() {
    let numbers: Vec<_> = numbered(LIST).map(|it| it.0).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));
    let covered = covered();
    for (number, _) in numbered(REASONS) {
        assert!(
            numbers.contains(&number),
            "a reason for no scenario: {number}"
        );
        assert!(
            !covered.contains_key(&number),
            "a reason in tests/scenario/reasons.txt for {number}, which has a test"
        );
    }
}

#[test]
fn numbers_are_read_from_the_end_of_names() {
    assert_eq!(numbers("waits_of_0_1_2_times_134"), [134]);
    assert_eq!(numbers("it_works_17_171"), [17, 171]);
    assert_eq!(numbers("it_works"), [0; 0]);
    assert_eq!(numbers("it_works_contract_13"), [0; 0]);
    assert_eq!(
        rust_tests("#[test]\nfn a_1() {}\nfn b_2() {}\n #[test]\n #[ignore]\n fn c_3() {\n"),
        ["a_1", "c_3"]
    );
    assert_eq!(
        c_tests("TEST(a_1)\n{\n    b_2();\n}\nTEST(c_3) {\n}\n#define TEST(name)\n"),
        ["a_1", "c_3"]
    );
}
