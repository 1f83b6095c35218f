//! No file of `src` needs, over others, itself: a reader can start anywhere and
//! get to an end.
//!
//! A file needs another one when its code names what is defined there: by `use`,
//! by a path that begins with `crate`, `super` or `self`, or by the name of a
//! module below. What a module only gives on with `pub use` is looked for where
//! it is defined. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Where there are still circles, and why: files, or folders with a `/` at the end.
/// Such a circle may not go beyond its own place.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["runtime/", "aside.rs"],
        "the runtime lends its threads to what runs beside it, and keeps that; what starts a thread stands in runtime/mod.rs",
    ),
    (
        &["bayeux/body/"],
        "a body, how it is read, and a message as a part of it",
    ),
    (
        &["session/"],
        "one state machine, Session, by what happens to it; its words stand in door.rs beside the types that they tell of",
    ),
];

type ModulePath = Vec<String>;

struct File {
    name: String,
    /// Without comments and tests, and without what is in `uses`.
    code: String,
    uses: Vec<Use>,
}

/// One name of a `use`.
#[derive(Debug, PartialEq)]
struct Use {
    path: Vec<String>,
    /// What it is called here.
    name: String,
    is_given_on: bool,
}

struct Sources {
    modules: BTreeMap<ModulePath, File>,
}

impl Sources {
    fn read() -> Self {
        let mut modules = BTreeMap::new();
        read_folder(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &[],
            &mut modules,
        );
        Self { modules }
    }

    fn of(files: &[(&str, &str)]) -> Self {
        let modules = files
            .iter()
            .map(|(name, text)| (module_path(name), File::parse(name, text)));
        Self {
            modules: modules.collect(),
        }
    }

    /// The module whose file defines what a path names; `None` when that is no
    /// file of these.
    fn definition(&self, from: &[String], path: &[String], depth: usize) -> Option<ModulePath> {
        let mut at = from.to_vec();
        let mut inside = false;
        for (index, name) in path.iter().enumerate() {
            let mut below = at.clone();
            below.push(name.clone());
            match name.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => {
                    at.pop();
                }
                _ if self.modules.contains_key(&below) => at = below,
                _ => {
                    let known = self.modules.get(&at)?;
                    let brought = known.uses.iter().find(|it| it.name == *name);
                    if let Some(brought) = brought.filter(|_| depth < 10 && (inside || index > 0)) {
                        let mut whole = brought.path.clone();
                        whole.extend_from_slice(&path[index + 1..]);
                        // What another crate has is given on from here.
                        return self.definition(&at, &whole, depth + 1).or(Some(at));
                    }
                    return inside.then_some(at);
                }
            }
            inside = true;
        }
        inside.then_some(at)
    }

    /// Which files each file needs.
    fn needs(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut all = BTreeMap::new();
        for (module, file) in &self.modules {
            let mut paths = paths_in(&file.code);
            let words: BTreeSet<&str> = file.code.split(|c| !is_word(c)).collect();
            for it in &file.uses {
                if !it.is_given_on || words.contains(it.name.as_str()) {
                    paths.push(it.path.clone());
                }
            }
            let needed: BTreeSet<&str> = paths
                .iter()
                .filter_map(|path| self.definition(module, path, 0))
                .filter_map(|module| self.modules.get(&module))
                .map(|needed| needed.name.as_str())
                .filter(|needed| *needed != file.name)
                .collect();
            all.insert(file.name.as_str(), needed);
        }
        all
    }

    /// Files that need each other, with what each of them needs of the others.
    fn circles(&self) -> Vec<BTreeMap<&str, BTreeSet<&str>>> {
        let needs = self.needs();
        let reached: BTreeMap<&str, BTreeSet<&str>> = needs
            .keys()
            .map(|start| {
                let mut reached = BTreeSet::new();
                let mut open: Vec<&str> = needs[start].iter().copied().collect();
                while let Some(name) = open.pop() {
                    if reached.insert(name) {
                        open.extend(&needs[name]);
                    }
                }
                (*start, reached)
            })
            .collect();
        let mut circles: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
        for name in needs.keys().copied() {
            if !reached[name].contains(name) || circles.iter().any(|it| it.contains_key(name)) {
                continue;
            }
            let among: BTreeSet<&str> = reached[name]
                .iter()
                .copied()
                .filter(|other| reached[other].contains(name))
                .collect();
            let each = among.iter().map(|it| (*it, &needs[it] & &among));
            circles.push(each.collect());
        }
        circles
    }
}

fn read_folder(folder: &Path, module: &[String], modules: &mut BTreeMap<ModulePath, File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if stem == "tests" {
            continue;
        }
        if path.is_dir() {
            let below = [module, &[stem]].concat();
            read_folder(&path, &below, modules);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let last = path.file_name().unwrap().to_str().unwrap();
            let name = [&module.join("/"), last].join("/");
            let name = name.trim_start_matches('/');
            let file = File::parse(name, &fs::read_to_string(&path).unwrap());
            modules.insert(module_path(name), file);
        }
    }
}

fn module_path(name: &str) -> ModulePath {
    let path = name.strip_suffix(".rs").unwrap_or(name);
    let names = path.split('/').map(str::to_owned);
    names.filter(|it| it != "mod" && it != "lib").collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl File {
    fn parse(name: &str, text: &str) -> Self {
        let mut code = String::new();
        let mut uses = Vec::new();
        let mut lines = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        let mut test_only = false;
        while let Some(line) = lines.next() {
            let words = line.trim_start();
            if words.starts_with("#[cfg(test)]") {
                test_only = true;
                continue;
            }
            if test_only && words.starts_with("mod ") && words.trim_end().ends_with('{') {
                // The tests of a file are the last of it.
                break;
            }
            let after_pub = match words.strip_prefix("pub") {
                Some(rest) if rest.starts_with('(') => rest.split_once(')').map(|it| it.1),
                Some(rest) => Some(rest),
                None => None,
            };
            let is_given_on = after_pub.is_some();
            match after_pub.unwrap_or(words).trim_start().strip_prefix("use ") {
                Some(tree) => {
                    let mut tree = tree.to_owned();
                    while !tree.contains(';') {
                        tree.push_str(lines.next().expect("a use ends"));
                    }
                    let tree = tree.split(';').next().unwrap_or_default();
                    if !test_only {
                        expand(&[], tree.trim(), is_given_on, &mut uses);
                    }
                }
                None => {
                    code.push_str(line);
                    code.push('\n');
                }
            }
            test_only = test_only && words.starts_with("#[");
        }
        Self {
            name: name.to_owned(),
            code,
            uses,
        }
    }
}

/// The paths of a tree as it stands behind `use`.
fn expand(before: &[String], tree: &str, is_given_on: bool, uses: &mut Vec<Use>) {
    let mut path = before.to_vec();
    let mut rest = tree.trim();
    while let Some((name, behind)) = rest.split_once("::") {
        if name.contains('{') {
            break;
        }
        path.push(name.trim().to_owned());
        rest = behind.trim();
    }
    if let Some(inner) = rest.strip_prefix('{') {
        let inner = inner.strip_suffix('}').unwrap_or(inner);
        let mut depth = 0;
        let each = inner.split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        for it in each.filter(|it| !it.trim().is_empty()) {
            expand(&path, it, is_given_on, uses);
        }
        return;
    }
    let (last, name) = rest.split_once(" as ").unwrap_or((rest, rest));
    if last != "self" && last != "*" {
        path.push(last.to_owned());
    }
    let name = match name {
        "self" => path.last().cloned().unwrap_or_default(),
        name => name.to_owned(),
    };
    uses.push(Use {
        path,
        name,
        is_given_on,
    });
}

/// All paths of several names in some code.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let paths = code.split(|c| !is_word(c) && c != ':');
    paths
        .filter(|it| it.contains("::"))
        .map(|it| {
            let names = it.split("::").filter(|it| !it.is_empty());
            names.map(str::to_owned).collect()
        })
        .collect()
}

fn is_in(name: &str, places: &[&str]) -> bool {
    let is_there = |it: &&str| name == *it || it.ends_with('/') && name.starts_with(*it);
    places.iter().any(is_there)
}

#[test]
fn no_file_needs_itself_over_others() {
    let sources = Sources::read();
    assert!(sources.modules.len() > 50, "{}", sources.modules.len());
    let circles = sources.circles();
    let mut there = BTreeSet::new();
    let mut others = Vec::new();
    for circle in &circles {
        let known = KNOWN
            .iter()
            .position(|(places, _)| circle.keys().all(|it| is_in(it, places)));
        match known {
            Some(known) => drop(there.insert(known)),
            None => others.push(circle),
        }
    }
    assert!(
        others.is_empty(),
        "files of src need each other: {others:#?}"
    );
    for (index, known) in KNOWN.iter().enumerate() {
        assert!(
            there.contains(&index),
            "no circle any more, so no longer known: {known:?}"
        );
    }
}

#[test]
fn a_circle_is_found_by_whatever_path_it_goes() {
    let circle = |a: &str, b: &str| {
        let sources = Sources::of(&[
            ("lib.rs", "pub mod a;\npub mod b;\n"),
            ("a/mod.rs", "mod inner;\npub use inner::A;\n"),
            ("a/inner.rs", a),
            ("b.rs", b),
        ]);
        let mut circles = sources.circles();
        let names = circles.pop().map(|it| it.into_keys().collect::<Vec<_>>());
        assert!(circles.is_empty());
        names.is_some_and(|names| names == ["a/inner.rs", "b.rs"])
    };
    let to_b = "use crate::b::B;\n";
    for to_a in [
        "use crate::a::A;\n",
        "use crate::a::{\n    A,\n};\n",
        "use super::{a::{A as Other}};\n",
        "fn f() -> crate::a::A {}\n",
        "use crate::a;\nfn f() {}\nuse a::A;\npub use crate::a::A as C;\nfn g() -> C {}\n",
    ] {
        assert!(circle(to_b, to_a), "{to_a}");
        assert!(!circle("", to_a), "{to_a}");
    }
    for none in [
        "",
        "// crate::a::A\n",
        "pub use crate::a::A;\n",
        "#[cfg(test)]\nuse crate::a::A;\n",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
    ] {
        assert!(!circle(to_b, none), "{none}");
    }
}
