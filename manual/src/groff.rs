//! The language of man pages (man(7)).

use std::fmt::Write;

/// A page that is being written.
pub struct Page(String);

impl Page {
    pub fn new(name: &str, section: u8, date: &str, version: &str) -> Self {
        let name = name.to_uppercase();
        Self(format!(
            ".\\\" Made by cometd_manual of cometd.h; change that instead.\n\
             .TH {name} {section} {date} \"libcometd {version}\" libcometd\n"
        ))
    }

    pub fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SH {}", escape(title));
    }

    pub fn subsection(&mut self, title: &str) {
        let _ = writeln!(self.0, ".SS {}", escape(title));
    }

    pub fn paragraph(&mut self, text: &str) {
        // Behind a title it is one already.
        let last = self.0.lines().next_back().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.0.push_str(".PP\n");
        }
        self.text(text);
    }

    pub fn point(&mut self, text: &str) {
        self.0.push_str(".IP \\(bu 3\n");
        self.text(text);
    }

    /// A term in bold, and what it means.
    pub fn term(&mut self, term: &str, text: &str) {
        let _ = writeln!(self.0, ".TP\n\\fB{}\\fP", escape(term));
        self.text(text);
    }

    /// The next paragraph belongs to the term or the point before.
    pub fn further(&mut self, text: &str) {
        self.0.push_str(".IP\n");
        self.text(text);
    }

    pub fn code(&mut self, text: &str) {
        self.0.push_str(".PP\n.in +4n\n.EX\n");
        for line in text.lines() {
            let _ = writeln!(self.0, "{}", guard(&escape(line)));
        }
        self.0.push_str(".EE\n.in\n");
    }

    pub fn prototypes<'a>(&mut self, prototypes: impl Iterator<Item = &'a str>) {
        self.0.push_str(".nf\n");
        for line in prototypes.flat_map(str::lines) {
            let _ = writeln!(self.0, "\\fB{}\\fP", escape(line));
        }
        self.0.push_str(".fi\n");
    }

    /// A line as it is.
    pub fn plain(&mut self, text: &str) {
        let _ = writeln!(self.0, "{text}");
    }

    pub fn text(&mut self, text: &str) {
        for line in sentences(text) {
            let _ = writeln!(self.0, "{}", guard(&inline(line)));
        }
    }

    pub fn see_also(&mut self, pages: &[(String, u8)]) {
        self.section("SEE ALSO");
        for (at, (name, section)) in pages.iter().enumerate() {
            let comma = if at + 1 < pages.len() { " ," } else { "" };
            let _ = writeln!(self.0, ".BR {} ({section}){comma}", escape(name));
        }
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// groff ends sentences at the ends of lines.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .match_indices([' '])
            .find(|(at, _)| rest[..*at].ends_with(['.', ':', ';']) && *at > 30)
            .map_or(rest.len(), |(at, _)| at);
        let (line, next) = rest.split_at(end);
        rest = next.trim_start();
        Some(line)
    })
}

/// Keeps a line from being a request.
fn guard(line: &str) -> String {
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}

/// `code` in italics, **words** and names of the library in bold.
pub fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((code, behind)) = rest.strip_prefix('`').and_then(|it| it.split_once('`')) {
            let _ = write!(out, "\\fI{}\\fP", escape(code));
            rest = behind;
        } else if let Some((bold, behind)) =
            rest.strip_prefix("**").and_then(|it| it.split_once("**"))
        {
            let _ = write!(out, "\\fB{}\\fP", escape(bold));
            rest = behind;
        } else if rest.starts_with("cometd_") || rest.starts_with("COMETD_") {
            let end = rest.find(|it: char| it != '_' && !it.is_ascii_alphanumeric());
            let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let _ = write!(out, "\\fB{}\\fP", escape(name));
            rest = behind;
        } else {
            out.push_str(&escape(first.encode_utf8(&mut [0; 4])));
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '"' => out.push_str("\\(dq"),
            letter if letter.is_ascii() => out.push(letter),
            letter => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(letter));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_a_request_or_an_escape() {
        let mut page = Page::new("a", 3, "2026-01-01", "0.1.0");
        page.paragraph(".so etc\\passwd 'x' …");
        assert!(page
            .finish()
            .ends_with(".PP\n\\&.so etc\\epasswd \\(aqx\\(aq \\[u2026]\n"));
    }

    #[test]
    fn names_and_arguments_stand_out() {
        assert_eq!(
            inline("`len` of **all** cometd_client_fd, in ms"),
            "\\fIlen\\fP of \\fBall\\fP \\fBcometd_client_fd\\fP, in ms"
        );
    }

    #[test]
    fn a_sentence_is_a_line() {
        let text = "One that is long enough to count. Another; etc. And the last";
        let lines: Vec<&str> = sentences(text).collect();
        assert_eq!(
            lines,
            [
                "One that is long enough to count.",
                "Another; etc. And the last"
            ]
        );
    }
}
