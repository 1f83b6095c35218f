//! `CASES.md`: which test shows which case of what people meet, which row of what
//! breaks the boundary, and which mistake of the session's. It is made from the
//! names of the tests, which hold the names of what they show.
//!
//! `COMETD_WRITE_CASES=1 cargo test --test case_table` writes it.
//!
//! The rules of the session are tables too, in `src/session/rules.md`, which the
//! documentation shows: each row ends with the tests that hold it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A part of the table: its title, how its tests are called, and what it has.
struct Part {
    title: &'static str,
    /// What stands before a name in the names of its tests.
    prefix: &'static str,
    names: &'static [(&'static str, &'static str)],
}

const PARTS: [Part; 3] = [
    Part {
        title: "What people meet",
        prefix: "case_",
        names: &[
            ("reply-with-data", "replies and what they say"),
            ("refused-with-data", "replies and what they say"),
            ("disconnect-and-refusal", "all of a response is told"),
            ("json-explanation", "all of a response is told"),
            ("reason-elsewhere", "all of a response is told"),
            ("surrogates", "lenient in what is taken"),
            ("odd-headers", "lenient in what is taken"),
            ("filters", "lenient in what is taken"),
            ("accept", "lenient in what is taken"),
            ("gzip-tail", "lenient in what is taken"),
            ("renewal-refused", "what may pass is not final"),
            ("slow-line", "what may pass is not final"),
            ("unread-outcomes", "the host is told"),
            ("resubscribed", "the host is told"),
            ("which-client", "the host is told"),
            ("never-works", "the host is told"),
            ("interpreter-exit", "the host is told"),
            ("words", "the host is told"),
            ("dead-line", "the host is told"),
        ],
    },
    Part {
        title: "What breaks the boundary",
        prefix: "limit_",
        names: &[
            ("tls-stall", "TLS handshakes that stall"),
            ("no-threads", "a thread is refused"),
            ("fork-tls", "a fork while the first https client is built"),
            ("fork-log", "a fork while threads log"),
            ("bare-fork", "a fork that runs no handlers"),
            (
                "exit-openssl",
                "the process ends while TLS connections are made",
            ),
            ("cancel", "a thread is cancelled in a poll"),
            (
                "memory-announced",
                "a length is announced and memory is short",
            ),
            ("gzip-members", "compressed responses of empty members"),
            ("cookies-redaction", "cookies that errors must not show"),
            ("replies-without-ids", "replies without ids"),
            ("waiting-commands", "commands that wait"),
            ("interim-responses", "interim responses without end"),
            ("advice-hosts", "advice with hosts without end"),
            ("extension-memory", "large responses with an extension"),
        ],
    },
    Part {
        title: "What the session got wrong",
        prefix: "session_",
        names: &[
            ("1", "a second subscribe that is refused"),
            ("2", "a renewal refused with the advice handshake"),
            ("3", "a subscribe beside the renewal of its channel"),
            ("4", "sessions that work for one connect only"),
            ("5", "negative intervals"),
            ("6", "late responses and replay positions"),
            ("7", "an unsubscribe that waited for a new session"),
            ("8", "a disconnect in the handshake's response"),
        ],
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
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

/// The tests of a C source: TEST(name), at the start of a line.
fn c_tests(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("TEST(")?.split(')').next())
        .collect()
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

/// A script of `tests/scripts` or a C++ program is a test as a whole, and a part of
/// it may be one: `# test: NAME` or `// test: NAME` on a line of its own.
fn marked_tests(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let rest = line
                .strip_prefix("# test: ")
                .or_else(|| line.strip_prefix("// test: "))?;
            Some(rest.trim())
        })
        .collect()
}

/// All tests: their files and names.
fn tests() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    files(&root().join("src"), "rs", &mut sources);
    files(&root().join("tests"), "rs", &mut sources);
    files(&root().join("tests/c"), "c", &mut sources);
    files(&root().join("tests/cpp"), "cpp", &mut sources);
    files(&root().join("tests/scripts"), "sh", &mut sources);
    sources.sort();
    let mut tests = Vec::new();
    for path in sources {
        let source = fs::read_to_string(&path).unwrap();
        let names = match path.extension().and_then(|it| it.to_str()) {
            Some("rs") => rust_tests(&source),
            Some("c") => c_tests(&source),
            _ => marked_tests(&source),
        };
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        tests.extend(names.into_iter().map(|it| (file.clone(), it.to_owned())));
    }
    tests
}

/// Whether a test's name holds this one, as whole words: `case_words_of_…` and
/// `a_line_case_words`, and not `case_wordsworth`.
fn holds(test: &str, wanted: &str) -> bool {
    test.match_indices(wanted).any(|(at, _)| {
        let before = test.get(..at).unwrap_or_default();
        let behind = test.get(at + wanted.len()..).unwrap_or_default();
        (before.is_empty() || before.ends_with('_'))
            && (behind.is_empty() || behind.starts_with('_'))
    })
}

impl Part {
    /// What the names of the tests of one of its rows hold.
    fn wanted(&self, name: &str) -> String {
        format!("{}{}", self.prefix, name.replace('-', "_"))
    }

    /// What the row is called in the table.
    fn called(&self, name: &str) -> String {
        match self.prefix {
            "case_" => name.to_owned(),
            _ => self.wanted(name),
        }
    }
}

/// The table for these tests, and what no test shows.
fn table(tests: &[(String, String)]) -> (String, Vec<String>) {
    let mut missing = Vec::new();
    let mut text = String::from(
        "# Cases\n\n\
         What servers, networks and hosts do that was reported or played, and the tests that\n\
         show what this client does then. Made from the names of the tests, which hold the\n\
         names of the cases; do not edit: `COMETD_WRITE_CASES=1 cargo test --test case_table`\n\
         writes it.\n",
    );
    for part in &PARTS {
        let _ = write!(
            text,
            "\n## {}\n\n| case | kind | tests |\n| --- | --- | --- |\n",
            part.title
        );
        for (name, kind) in part.names {
            let wanted = part.wanted(name);
            let shown: Vec<String> = tests
                .iter()
                .filter(|(_, test)| holds(test, &wanted))
                .map(|(file, test)| format!("`{test}` in {file}"))
                .collect();
            let called = part.called(name);
            if shown.is_empty() {
                missing.push(called.clone());
            }
            let _ = writeln!(text, "| {called} | {kind} | {} |", shown.join(", "));
        }
    }
    (text, missing)
}

/// The rows of a text's tables: the cells of each, without those that say what
/// the columns are.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let is_rule = |line: &str| {
            line.starts_with('|')
                && line.contains('-')
                && line.chars().all(|it| matches!(it, '|' | '-' | ':' | ' '))
        };
        if !line.starts_with('|') || is_rule(line) || lines.peek().is_some_and(|it| is_rule(it)) {
            continue;
        }
        // A `|` in a cell is written as `\|`.
        let inside = line.trim_start_matches('|').replace("\\|", "\u{0}");
        let inside = inside.trim_end().strip_suffix('|').unwrap_or(&inside);
        let cells = inside.split('|').map(|it| it.trim().replace('\u{0}', "|"));
        rows.push(cells.collect());
    }
    rows
}

/// The names in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What is wrong with a text of tables whose rows end with the names of tests.
fn faults(text: &str, known: &BTreeSet<&str>) -> Vec<String> {
    let rows = rows(text);
    let mut faults = Vec::new();
    if rows.is_empty() {
        faults.push("there is no row".to_owned());
    }
    for row in rows {
        let named = row.last().map_or(Vec::new(), |it| quoted(it));
        let first = row.first().map_or("", String::as_str);
        if row.len() < 2 || named.is_empty() {
            faults.push(format!("no test: {first}"));
        }
        for test in named {
            // With or without its module.
            let name = test.rsplit("::").next().unwrap_or(test);
            if !known.contains(name) {
                faults.push(format!("no such test as {test}: {first}"));
            }
        }
    }
    faults
}

#[test]
fn every_case_has_a_test_and_the_table_says_which() {
    let (table, missing) = table(&tests());
    let path = root().join("tests/CASES.md");
    if std::env::var_os("COMETD_WRITE_CASES").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert!(missing.is_empty(), "no test shows: {missing:?}");
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == table,
        "tests/CASES.md is not what the tests show; \
         COMETD_WRITE_CASES=1 cargo test --test case_table writes it"
    );
}

#[test]
fn every_test_that_the_table_names_exists() {
    let all = tests();
    let known: BTreeSet<&str> = all.iter().map(|it| it.1.as_str()).collect();
    let text = fs::read_to_string(root().join("tests/CASES.md")).unwrap();
    let faults: Vec<String> = rows(&text)
        .iter()
        .flat_map(|row| {
            let named = row.last().map_or(Vec::new(), |it| quoted(it));
            let unknown = named.into_iter().filter(|it| !known.contains(it));
            unknown.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(faults.is_empty(), "no such tests: {faults:?}");
}

#[test]
fn every_rule_of_the_session_and_case_of_the_lifecycle_has_a_test() {
    let all = tests();
    let known: BTreeSet<&str> = all.iter().map(|it| it.1.as_str()).collect();
    for file in ["src/session/rules.md", "tests/LIFECYCLE.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let faults = faults(&text, &known);
        assert!(faults.is_empty(), "{file}:\n{}", faults.join("\n"));
    }
}

#[test]
fn tests_are_found_by_whole_words_of_their_names() {
    assert!(holds("case_words_in_errors", "case_words"));
    assert!(holds("it_says_so_case_words", "case_words"));
    assert!(holds("case_wordsworth_case_words_12", "case_words"));
    assert!(!holds("case_wordsworth", "case_words"));
    assert!(!holds("showcase_words", "case_words"));
    assert!(!holds("session_12_of_them", "session_1"));
    assert!(holds("session_1_of_them", "session_1"));
    let [cases, limits, _] = &PARTS;
    assert_eq!(cases.wanted("odd-headers"), "case_odd_headers");
    assert_eq!(limits.called("tls-stall"), "limit_tls_stall");
}

#[test]
fn tests_are_found_in_each_kind_of_source() {
    assert_eq!(
        rust_tests("#[test]\nfn a() {}\nfn b() {}\n #[test]\n #[ignore]\n fn c() {\n"),
        ["a", "c"]
    );
    assert_eq!(
        c_tests("TEST(a)\n{\n    b();\n}\n#define TEST(name)\n"),
        ["a"]
    );
    assert_eq!(
        marked_tests("# test: a\nset -e\n  // test: b \n# tests: c\n"),
        ["a", "b"]
    );
}

#[test]
fn what_no_test_shows_is_missing_and_what_one_shows_is_in_its_row() {
    let tests = [
        (
            "src/a.rs".to_owned(),
            "case_odd_headers_are_passed_over".to_owned(),
        ),
        ("tests/c/b.c".to_owned(), "session_1_is_kept".to_owned()),
        (
            "tests/d.rs".to_owned(),
            "it_is_kept_too_session_1".to_owned(),
        ),
    ];
    let (text, missing) = table(&tests);
    let rows: BTreeMap<_, _> = rows(&text)
        .into_iter()
        .map(|row| (row[0].clone(), row[2].clone()))
        .collect();
    let all: usize = PARTS.iter().map(|it| it.names.len()).sum();
    assert_eq!(rows.len(), all);
    assert_eq!(missing.len(), all - 2);
    assert!(!missing.contains(&"odd-headers".to_owned()));
    assert_eq!(
        rows["odd-headers"],
        "`case_odd_headers_are_passed_over` in src/a.rs"
    );
    assert_eq!(
        quoted(&rows["session_1"]),
        ["session_1_is_kept", "it_is_kept_too_session_1"]
    );
    assert_eq!(rows["gzip-tail"], "");
}

#[test]
fn rows_of_rules_are_read_and_what_is_wrong_with_them_is_told() {
    let text = "# Rules\n\nWords | and more.\n\n\
        | what | again | test |\n|---|:---:|---|\n\
        | a 503 \\| 429 | yes | `held`, `session::tests::faults::told` |\n\
        | a 404 | no | |\n\
        | a `413` | no | `gone` |\n\n\
        | clock | test |\n| --- | --- |\n| `now` | `held` |\n";
    assert_eq!(rows(text).len(), 4);
    assert_eq!(rows(text)[0][0], "a 503 | 429");
    assert_eq!(rows(text)[1], ["a 404", "no", ""]);
    let known = BTreeSet::from(["held", "told"]);
    assert_eq!(
        faults(text, &known),
        ["no test: a 404", "no such test as gone: a `413`"]
    );
    assert_eq!(faults("no table", &known), ["there is no row"]);
    assert_eq!(
        faults("| a |\n|---|\n| `held` |\n", &known),
        ["no test: `held`"]
    );
}
