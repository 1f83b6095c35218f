//! What stands on which page.

use cometd::client::options::{ClientOption, FUNCTIONS, OPTIONS};

use crate::groff::{inline, Page};
use crate::header::{Group, Header, Item, Kind, Paragraph};

/// The rules that stand in cometd-threads(7); the others stand in cometd(3).
const THREADS: [&str; 7] = [
    "Threads",
    "Blocking",
    "Callbacks",
    "After fork",
    "pthread_cancel",
    "pthread_exit inside a callback",
    "The end of the process",
];

/// A file of the manual: "man3/cometd_client.3", and what is in it.
pub type File = (String, String);

pub struct Manual<'a> {
    pub header: &'a Header,
    /// The first program of README.
    pub program: &'a str,
    pub date: &'a str,
    pub version: &'a str,
}

impl Manual<'_> {
    /// All pages, and the names that lead to them.
    pub fn files(&self) -> Vec<File> {
        let mut files = vec![self.overview(), self.threads(), self.options()];
        files.extend(self.header.groups.iter().map(|it| self.group(it)));
        for (group, item) in self.header.items() {
            if item.kind != Kind::Constant && item.name != group.name {
                files.push((
                    format!("man3/{}.3", item.name),
                    format!(".so man3/{}.3\n", group.name),
                ));
            }
        }
        files
    }

    fn page(&self, name: &str, section: u8, title: &str) -> Page {
        let mut page = Page::new(name, section, self.date, self.version);
        page.section("NAME");
        page.plain(&format!(
            "{} \\- {}",
            name.replace('-', "\\-"),
            inline(title)
        ));
        page
    }

    fn see_also(&self, page: &mut Page, own: &str) {
        let mut pages = vec![("cometd".to_owned(), 3)];
        pages.extend(self.header.groups.iter().map(|it| (it.name.clone(), 3)));
        pages.push(("cometd-options".to_owned(), 7));
        pages.push(("cometd-threads".to_owned(), 7));
        pages.retain(|it| it.0 != own);
        page.see_also(&pages);
    }

    fn overview(&self) -> File {
        let mut page = self.page("cometd", 3, "a CometD (Bayeux 1.0) client");
        page.section("LIBRARY");
        page.text("libcometd (`-lcometd`; `pkg-config --cflags --libs cometd`)");
        page.section("SYNOPSIS");
        page.prototypes(["#include <cometd/cometd.h>"].into_iter());
        page.section("DESCRIPTION");
        page.text("What the library has, and where it is told:");
        for group in &self.header.groups {
            page.term(&format!("{}(3)", group.name), &group.title);
        }
        page.term("cometd-options(7)", "the options of a client");
        page.term(
            "cometd-threads(7)",
            "threads, callbacks, fork, and the end of the process",
        );
        page.paragraph("Unless its comment says otherwise, this holds for every function:");
        for (name, text) in self
            .header
            .rules
            .iter()
            .filter(|it| !THREADS.contains(&it.0.as_str()))
        {
            rule(&mut page, name, text);
        }
        page.section("EXAMPLES");
        page.text("It prints the messages of the channels, for ever:");
        page.code(self.program);
        self.see_also(&mut page, "cometd");
        ("man3/cometd.3".to_owned(), page.finish())
    }

    fn threads(&self) -> File {
        let title = "threads, callbacks, fork and exit with libcometd";
        let mut page = self.page("cometd-threads", 7, title);
        page.section("DESCRIPTION");
        page.text("Unless its comment says otherwise, this holds for every function:");
        for (name, text) in self
            .header
            .rules
            .iter()
            .filter(|it| THREADS.contains(&it.0.as_str()))
        {
            rule(&mut page, name, text);
        }
        self.see_also(&mut page, "cometd-threads");
        ("man7/cometd-threads.7".to_owned(), page.finish())
    }

    fn options(&self) -> File {
        let mut page = self.page("cometd-options", 7, "the options of a client of libcometd");
        page.section("DESCRIPTION");
        page.text(
            "Each is set by the function that its entry names. Those that are not functions \
             are set by name and as text as well, with cometd_client_builder_set. They can be \
             read at run time: see cometd_option_at.",
        );
        page.section("OPTIONS");
        for option in OPTIONS {
            page.term(option.name(), &option.text.to_string_lossy());
            page.further(&facts(option));
        }
        page.section("FUNCTIONS OF THE PROGRAM");
        for (setter, text) in FUNCTIONS {
            page.term(&setter.to_string_lossy(), &text.to_string_lossy());
        }
        self.see_also(&mut page, "cometd-options");
        ("man7/cometd-options.7".to_owned(), page.finish())
    }

    fn group(&self, group: &Group) -> File {
        let mut page = self.page(&group.name, 3, &group.title);
        let of = |kind| group.items.iter().filter(move |it| it.kind == kind);
        page.section("LIBRARY");
        page.text("libcometd (`-lcometd`)");
        page.section("SYNOPSIS");
        page.prototypes(["#include <cometd/cometd.h>"].into_iter());
        for function in of(Kind::Function) {
            page.plain(".PP");
            page.prototypes([function.declaration.as_str()].into_iter());
        }
        page.section("DESCRIPTION");
        match of(Kind::Type).find(|it| it.name == group.name) {
            Some(own) => text(&mut page, own),
            None => page.text(&format!("This page tells of {}.", group.title)),
        }
        if of(Kind::Function).next().is_some() {
            page.section("FUNCTIONS");
        }
        for function in of(Kind::Function) {
            page.subsection(&function.name);
            page.prototypes([function.declaration.as_str()].into_iter());
            text(&mut page, function);
            for (name, value) in &function.notes {
                let name = match name.as_str() {
                    "Returns" => "Return value",
                    other => other,
                };
                page.term(name, value);
            }
        }
        if of(Kind::Type).any(|it| it.name != group.name) {
            page.section("TYPES");
        }
        for it in of(Kind::Type).filter(|it| it.name != group.name) {
            page.subsection(&it.name);
            page.prototypes([it.declaration.as_str()].into_iter());
            text(&mut page, it);
        }
        if of(Kind::Constant).next().is_some() {
            page.section("CONSTANTS");
        }
        for constant in of(Kind::Constant) {
            let mut paragraphs = constant.text.iter();
            let first = match paragraphs.next() {
                Some(Paragraph::Text(it) | Paragraph::Point(it) | Paragraph::Code(it)) => it,
                None => "",
            };
            page.term(
                &format!("{} {}", constant.name, constant.declaration),
                first,
            );
            for paragraph in paragraphs {
                if let Paragraph::Text(it) | Paragraph::Point(it) = paragraph {
                    page.further(it);
                }
            }
        }
        self.see_also(&mut page, &group.name);
        (format!("man3/{}.3", group.name), page.finish())
    }
}

fn rule(page: &mut Page, name: &str, text: &str) {
    page.subsection(name);
    page.text(text);
}

fn text(page: &mut Page, item: &Item) {
    for paragraph in &item.text {
        match paragraph {
            Paragraph::Text(it) => page.paragraph(it),
            Paragraph::Point(it) => page.point(it),
            Paragraph::Code(it) => page.code(it),
        }
    }
}

/// Type, unit, range, default and function of an option.
fn facts(option: &ClientOption) -> String {
    let unit = option
        .unit
        .map_or(String::new(), |it| format!(" ({})", it.to_string_lossy()));
    let default = match option.default.map(|it| it.to_string_lossy()) {
        None => "no default".to_owned(),
        Some(it) if it.is_empty() => "the default is \"\"".to_owned(),
        Some(it) => format!("the default is {it}"),
    };
    let kind = option.kind_name().to_string_lossy();
    let setter = option.setter.to_string_lossy();
    format!(
        "Type {kind}{unit}: {}; {default}. Set by {setter}.",
        option.range()
    )
}
