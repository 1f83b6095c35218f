//! Writes the man pages of the library: cometd_manual ROOT DATE FOLDER
//!
//! ROOT is the tree of the sources, DATE what the pages say (2026-01-31), FOLDER
//! gets man3, man7, and man1 with the pages of the tools, which are copied.

mod groff;
mod header;
mod pages;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, date, folder] = arguments.as_slice() else {
        eprintln!("usage: cometd_manual ROOT DATE FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(root), date, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cometd_manual: {why}");
            ExitCode::FAILURE
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))
}

/// The first program of README.
fn program(readme: &str) -> Result<&str, String> {
    let (_, behind) = readme
        .split_once("\n```c\n")
        .ok_or("README.md has no C program")?;
    let (program, _) = behind
        .split_once("\n```\n")
        .ok_or("README.md's C program has no end")?;
    Ok(program)
}

fn write(root: &Path, date: &str, folder: &Path) -> Result<(), String> {
    let header = header::Header::parse(&read(&root.join("include/cometd/cometd.h"))?)?;
    let readme = read(&root.join("README.md"))?;
    let manual = pages::Manual {
        header: &header,
        program: program(&readme)?,
        date,
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut files = manual.files();
    if let Ok(entries) = fs::read_dir(root.join("tools")) {
        for path in entries.flatten().map(|it| it.path()) {
            if path.extension().is_some_and(|it| it == "1") {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                files.push((format!("man1/{name}"), read(&path)?));
            }
        }
    }
    // What an older header had is gone.
    for section in ["man1", "man3", "man7"] {
        let section = folder.join(section);
        let _ = fs::remove_dir_all(&section);
        fs::create_dir_all(&section).map_err(|why| format!("{}: {why}", section.display()))?;
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    Ok(())
}
