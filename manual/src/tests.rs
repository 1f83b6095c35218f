//! The manual of this header has all that is in it, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::header::{Header, Kind, Paragraph};
use crate::pages::{File, Manual};

fn header_text() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    crate::read(&root.join("include/cometd/cometd.h")).unwrap()
}

fn files(text: &str) -> Vec<File> {
    let header = Header::parse(text).unwrap();
    let manual = Manual {
        header: &header,
        program: "int main(void) {}",
        date: "2026-01-31",
        version: "0.1.0",
    };
    manual.files()
}

/// The names in the header, found without reading it as a header.
fn names(text: &str, kind: Kind) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|it| !it.trim_start().starts_with("//") && !it.starts_with(" *"));
    let mut names = BTreeSet::new();
    for line in code {
        let mut words = line.split(|it: char| it != '_' && !it.is_ascii_alphanumeric());
        match kind {
            Kind::Constant => {
                let name = line
                    .strip_prefix("#define COMETD_")
                    .and_then(|it| it.split_once(' '));
                names.extend(name.map(|it| format!("COMETD_{}", it.0)));
            }
            Kind::Function if !line.starts_with([' ', '#']) && !line.starts_with("typedef") => {
                let front = line.split_once('(').map(|it| it.0);
                names.extend(
                    front
                        .and_then(|it| it.rsplit([' ', '*']).next())
                        .map(str::to_owned),
                );
            }
            Kind::Type if line.starts_with("typedef") || line.starts_with("} cometd_") => {
                let name = match line.split_once("(*") {
                    Some((_, behind)) => behind.split(')').next(),
                    None if line.ends_with(';') => words.rfind(|it| !it.is_empty()),
                    None => None,
                };
                names.extend(name.map(str::to_owned));
            }
            _ => {}
        }
    }
    names.retain(|it| it.to_lowercase().starts_with("cometd_"));
    names
}

#[test]
fn every_name_of_the_header_is_told_on_one_page() {
    let text = header_text();
    let mut told: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for (file, page) in files(&text)
        .into_iter()
        .filter(|it| !it.1.starts_with(".so "))
    {
        for line in page.lines() {
            if let Some(name) = line.strip_prefix(".SS cometd_") {
                told.entry((false, format!("cometd_{name}")))
                    .or_default()
                    .push(file.clone());
            }
            if let Some(name) = line
                .strip_prefix("\\fBCOMETD_")
                .filter(|it| it.ends_with("\\fP"))
            {
                let name = name.split(' ').next().unwrap_or_default();
                told.entry((true, format!("COMETD_{name}")))
                    .or_default()
                    .push(file.clone());
            }
        }
    }
    let header = Header::parse(&text).unwrap();
    for kind in [Kind::Constant, Kind::Type, Kind::Function] {
        let names = names(&text, kind);
        assert!(names.len() > 10, "{names:?}");
        let groups: BTreeSet<&str> = header.groups.iter().map(|it| it.name.as_str()).collect();
        for name in names
            .iter()
            .filter(|it| kind != Kind::Type || !groups.contains(it.as_str()))
        {
            let pages = told.get(&(kind == Kind::Constant, name.clone()));
            let pages = pages.unwrap_or_else(|| panic!("no page tells of {name}"));
            assert_eq!(pages.len(), 1, "{name}: {pages:?}");
        }
    }
}

#[test]
fn every_function_and_type_is_a_page_or_leads_to_one() {
    let text = header_text();
    let files: BTreeMap<String, String> = files(&text).into_iter().collect();
    for name in names(&text, Kind::Function)
        .into_iter()
        .chain(names(&text, Kind::Type))
    {
        let page = files
            .get(&format!("man3/{name}.3"))
            .unwrap_or_else(|| panic!("no page {name}"));
        if let Some(target) = page.strip_prefix(".so ") {
            assert!(
                files.contains_key(target.trim()),
                "{name} leads to {target}"
            );
        }
    }
}

#[test]
fn every_function_says_what_it_returns_and_since_when() {
    let header = Header::parse(&header_text()).unwrap();
    for (_, item) in header.items().filter(|it| it.1.kind == Kind::Function) {
        let notes: Vec<&str> = item.notes.iter().map(|it| it.0.as_str()).collect();
        let returns = !item.declaration.starts_with("void ");
        for note in ["Threads", "Blocks", "Since"]
            .into_iter()
            .chain(returns.then_some("Returns"))
        {
            assert_eq!(
                notes.iter().filter(|it| **it == note).count(),
                1,
                "{}: {note}",
                item.name
            );
        }
        assert!(!item.text.is_empty(), "{} has no text", item.name);
    }
}

#[test]
fn every_rule_of_the_header_is_told_once() {
    let text = header_text();
    let header = Header::parse(&text).unwrap();
    assert!(header.rules.len() > 10);
    let pages = files(&text);
    for (name, _) in &header.rules {
        let line = format!(".SS {}\n", crate::groff::escape(name));
        let count = pages.iter().filter(|it| it.1.contains(&line)).count();
        assert_eq!(count, 1, "{name}");
    }
    let threads = pages
        .iter()
        .find(|it| it.0 == "man7/cometd-threads.7")
        .unwrap();
    assert_eq!(
        threads.1.matches(".SS ").count(),
        7,
        "a rule of threads has another name"
    );
}

#[test]
fn a_comment_is_read_with_its_parts() {
    let text = "/**\n * @file\n * - Rule: it\n *   holds.\n */\n\n/// @defgroup g g: a group\n\n/// @addtogroup g\n\
                /// @{\n\n/// Does it.\n///\n/// - a point\n///   goes on\n///\n/// ```c\n/// f();\n/// ```\n///\n\
                /// **Returns** 1;\n/// 2: no. **Threads** any.\n/// **Since** 0.1.\nint cometd_f(int a,\n             int b);\n\n\
                /// @}\n";
    let header = Header::parse(text).unwrap();
    assert_eq!(header.rules, [("Rule".to_owned(), "it holds.".to_owned())]);
    let (group, item) = header.items().next().unwrap();
    assert_eq!(
        (group.title.as_str(), item.name.as_str()),
        ("a group", "cometd_f")
    );
    assert_eq!(
        item.text,
        [
            Paragraph::Text("Does it.".to_owned()),
            Paragraph::Point("a point goes on".to_owned()),
            Paragraph::Code("f();\n".to_owned()),
        ]
    );
    let notes: Vec<(&str, &str)> = item
        .notes
        .iter()
        .map(|it| (it.0.as_str(), it.1.as_str()))
        .collect();
    assert_eq!(
        notes,
        [
            ("Returns", "1; 2: no."),
            ("Threads", "any."),
            ("Since", "0.1.")
        ]
    );
}
