//! README's table of options is made of the library's own; and each setter of the
//! header is in it, and keeps its errors under its own name.
//!
//! `COMETD_WRITE_OPTIONS=1 cargo test --test option_table` writes the table.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use cometd::client::options::{ClientOption, FUNCTIONS, OPTIONS};

const BEGIN: &str = "<!-- options: made by tests/option_table.rs -->\n\n";
const END: &str = "\n<!-- end of options -->\n";
const BUILDER: &str = "cometd_client_builder_";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn text(text: &CStr) -> &str {
    text.to_str().unwrap()
}

fn row(option: &ClientOption) -> String {
    let unit = option
        .unit
        .map_or(String::new(), |it| format!("{}: ", text(it)));
    let default = match option.default.map(text) {
        None => "none".to_owned(),
        Some("") => "\"\"".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    format!(
        "| `{}` | {default} | {unit}{} | {} |\n",
        option.short_setter(),
        option.range(),
        text(option.text)
    )
}

fn table() -> String {
    let mut table =
        "| option | default | unit, range | what it does |\n| --- | --- | --- | --- |\n".to_owned();
    table.extend(OPTIONS.iter().map(row));
    for (setter, what) in FUNCTIONS {
        let setter = text(setter).strip_prefix(BUILDER).unwrap();
        table += &format!("| `{setter}` | none | a function | {} |\n", text(what));
    }
    table
}

#[test]
fn readme_has_the_table_of_the_library() {
    let readme = read("README.md");
    let (before, rest) = readme
        .split_once(BEGIN)
        .expect("README.md has the first marker");
    let (inside, after) = rest.split_once(END).expect("README.md has the last marker");
    if std::env::var_os("COMETD_WRITE_OPTIONS").is_some() {
        fs::write(
            path("README.md"),
            format!("{before}{BEGIN}{}{END}{after}", table()),
        )
        .unwrap();
        return;
    }
    assert!(
        inside == table(),
        "README.md has another table: COMETD_WRITE_OPTIONS=1 cargo test --test option_table"
    );
}

/// The functions of a C or Rust text that begin like this.
fn names<'a>(source: &'a str, begin: &str) -> BTreeSet<&'a str> {
    let is_part = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    source
        .match_indices(begin)
        .filter_map(|(at, _)| {
            let end = source[at..].find(|it| !is_part(it))?;
            source[at + end..]
                .starts_with('(')
                .then(|| &source[at..at + end])
        })
        .collect()
}

#[test]
fn each_setter_of_the_header_is_an_option_or_takes_a_function() {
    let header = read("include/cometd/cometd.h");
    let code: String = header
        .lines()
        .filter(|it| !it.trim_start().starts_with("//"))
        .fold(String::new(), |code, line| code + line + "\n");
    let mut declared = names(&code, "cometd_client_builder_set_");
    declared.extend(names(&code, "cometd_client_builder_add_"));
    let options = OPTIONS.iter().map(|it| text(it.setter));
    let known: BTreeSet<&str> = options
        .chain(FUNCTIONS.iter().map(|it| text(it.0)))
        .collect();
    assert_eq!(
        known.len(),
        OPTIONS.len() + FUNCTIONS.len(),
        "one is there twice"
    );
    let missing: Vec<_> = declared.symmetric_difference(&known).collect();
    assert!(
        missing.is_empty(),
        "in the header or in src/client/options/table.rs alone: {missing:?}"
    );
}

#[test]
fn each_setter_keeps_its_errors_under_its_own_name() {
    let mut seen = 0;
    let files = fs::read_dir(path("src/capi")).unwrap().flatten();
    for file in files.filter(|it| it.path().is_file()) {
        let source = fs::read_to_string(file.path()).unwrap();
        for function in source.split("pub unsafe extern \"C\" fn ").skip(1) {
            let name = function.split('(').next().unwrap();
            let Some(setter) = name.strip_prefix(BUILDER) else {
                continue;
            };
            if !setter.starts_with("set_") && !setter.starts_with("add_") {
                continue;
            }
            let body = function.split("\n}\n").next().unwrap();
            assert!(body.contains(&format!("\"{setter}\"")), "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, OPTIONS.len() + FUNCTIONS.len());
}
