//! What differs between systems stands in `src/platform` and nowhere else in `src`.

use std::fs;
use std::path::{Path, PathBuf};

/// What asks for the system, or calls it.
const OF_A_SYSTEM: &[&str] = &[
    "target_os",
    "target_family",
    "target_vendor",
    "target_env",
    "cfg(unix",
    "cfg(windows",
    "cfg(not(unix",
    "cfg(not(windows",
    "(unix,",
    "(windows,",
    "libc::",
    "std::os::",
    "extern \"C\" {",
    "extern \"C-unwind\" {",
    "extern \"system\" {",
];

#[test]
fn what_differs_between_systems_has_one_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let room = root.join("platform");
    let mut places = Vec::new();
    let mut of_the_room = 0;
    for file in files(&root) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !OF_A_SYSTEM.iter().any(|it| code.contains(it)) {
                continue;
            }
            if file.starts_with(&room) {
                of_the_room += 1;
            } else {
                places.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(places.is_empty(), "{places:#?}");
    assert!(of_the_room > 20, "{of_the_room}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|it| it.unwrap().path());
    paths
        .flat_map(|it| if it.is_dir() { files(&it) } else { vec![it] })
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .collect()
}
