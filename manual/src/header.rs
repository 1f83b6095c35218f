//! Reads the header as build.rs writes it.

/// What stands in the header, in its order.
#[derive(Debug, Default)]
pub struct Header {
    /// What holds for every function: "Threads", and the text.
    pub rules: Vec<(String, String)>,
    pub groups: Vec<Group>,
}

#[derive(Debug)]
pub struct Group {
    pub name: String,
    pub title: String,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Constant,
    Type,
    Function,
}

#[derive(Debug)]
pub struct Item {
    pub kind: Kind,
    pub name: String,
    /// As it stands in the header; of a constant its value.
    pub declaration: String,
    pub text: Vec<Paragraph>,
    /// "Returns", "Threads" and so on, and what it says of them.
    pub notes: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Paragraph {
    Text(String),
    Point(String),
    Code(String),
}

const NOTES: [&str; 5] = ["Returns", "Threads", "Blocks", "Ownership", "Since"];

impl Header {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut header = Self::default();
        let (top, rest) = text
            .split_once("*/")
            .ok_or("there is no comment at the top")?;
        header.rules = rules(top);
        let mut group = None;
        for block in rest
            .split("\n\n")
            .map(str::trim)
            .filter(|it| !it.is_empty())
        {
            if let Some(definition) = block.strip_prefix("/// @defgroup ") {
                let (name, title) = definition
                    .split_once(' ')
                    .ok_or("a group without a title")?;
                let title = title
                    .strip_prefix(name)
                    .and_then(|it| it.strip_prefix(": "));
                header.groups.push(Group {
                    name: name.to_owned(),
                    title: title.unwrap_or_default().to_owned(),
                    items: Vec::new(),
                });
            } else if let Some(name) = block.strip_prefix("/// @addtogroup ") {
                group = name.lines().next().map(str::to_owned);
            } else if block == "/// @}" {
                group = None;
            } else if let Some((item, own)) = item(block)? {
                let name = own.or(group.clone());
                let name = name.ok_or_else(|| format!("{} is in no group", item.name))?;
                let group = header.groups.iter_mut().find(|it| it.name == name);
                group
                    .ok_or_else(|| format!("{name} is no group"))?
                    .items
                    .push(item);
            }
        }
        header.groups.retain(|it| !it.items.is_empty());
        Ok(header)
    }

    pub fn items(&self) -> impl Iterator<Item = (&Group, &Item)> {
        self.groups
            .iter()
            .flat_map(|group| group.items.iter().map(move |item| (group, item)))
    }
}

/// The points of the comment at the top.
fn rules(top: &str) -> Vec<(String, String)> {
    let mut rules: Vec<String> = Vec::new();
    for line in top.lines() {
        let line = line.trim_start().trim_start_matches(['/', '*']);
        if let Some(point) = line.strip_prefix(" - ") {
            rules.push(point.to_owned());
        } else if let (Some(rule), false) = (rules.last_mut(), line.trim().is_empty()) {
            rule.push(' ');
            rule.push_str(line.trim());
        }
    }
    let named = |rule: String| match rule.split_once(": ") {
        // "After fork, in the child, …" has no name in front.
        Some((name, text)) if name.len() < 25 => (name.to_owned(), text.to_owned()),
        _ => {
            let end = rule.find(|it: char| it != '_' && !it.is_alphanumeric() && it != ' ');
            (rule[..end.unwrap_or(rule.len())].to_owned(), rule)
        }
    };
    rules.into_iter().map(named).collect()
}

/// An item, and the group that it names by itself.
fn item(block: &str) -> Result<Option<(Item, Option<String>)>, String> {
    let mut own = None;
    let mut comment = Vec::new();
    let mut declaration = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("///") {
            Some(text) if declaration.is_empty() => {
                let text = text.strip_prefix(' ').unwrap_or(text);
                match text.strip_prefix("@ingroup ") {
                    Some(group) => own = Some(group.to_owned()),
                    None => comment.push(text),
                }
            }
            // The frame of all in C++; with another side it belongs to what stands here.
            _ if (line.starts_with("#if") || line.starts_with("#endif"))
                && !block.contains("\n#else") => {}
            _ => declaration.push(line),
        }
    }
    if comment.is_empty() || declaration.is_empty() {
        return Ok(None);
    }
    let declaration = declaration.join("\n");
    let (kind, name, declaration) = match declaration.strip_prefix("#define ") {
        Some(constant) => {
            let (name, value) = constant
                .split_once(' ')
                .ok_or("a constant without a value")?;
            (Kind::Constant, name.to_owned(), value.to_owned())
        }
        None if declaration.lines().any(|line| line.starts_with("typedef ")) => {
            let end = declaration
                .trim_end_matches("\n#endif")
                .trim_end_matches(';');
            let name = match declaration.split_once("(*") {
                Some((_, rest)) => rest.split(')').next().unwrap_or_default(),
                None => last_word(end),
            };
            (Kind::Type, name.to_owned(), declaration)
        }
        None => {
            let front = declaration.split('(').next().unwrap_or_default();
            (Kind::Function, last_word(front).to_owned(), declaration)
        }
    };
    if name.is_empty() {
        return Err(format!("this declares nothing: {declaration}"));
    }
    let (text, notes) = paragraphs(&comment);
    let item = Item {
        kind,
        name,
        declaration,
        text,
        notes,
    };
    Ok(Some((item, own)))
}

fn last_word(text: &str) -> &str {
    text.rsplit([' ', '*']).next().unwrap_or_default()
}

/// The text of a comment, and its notes.
fn paragraphs(lines: &[&str]) -> (Vec<Paragraph>, Vec<(String, String)>) {
    let mut text: Vec<Paragraph> = Vec::new();
    let mut notes: Vec<(String, String)> = Vec::new();
    let mut code = false;
    let mut open = false;
    for line in lines {
        if line.starts_with("```") {
            code = !code;
            open = false;
            if code {
                text.push(Paragraph::Code(String::new()));
            }
        } else if code {
            if let Some(Paragraph::Code(it)) = text.last_mut() {
                it.push_str(line);
                it.push('\n');
            }
        } else if line.is_empty() {
            open = false;
        } else if note(line).is_some() || (open && !notes.is_empty()) {
            open = true;
            add_notes(&mut notes, line);
        } else {
            match (text.last_mut(), line.strip_prefix("- "), open) {
                (_, Some(point), _) => text.push(Paragraph::Point(point.to_owned())),
                (Some(Paragraph::Text(it) | Paragraph::Point(it)), _, true) => {
                    it.push(' ');
                    it.push_str(line.trim_start());
                }
                _ => text.push(Paragraph::Text((*line).to_owned())),
            }
            open = true;
        }
    }
    (text, notes)
}

/// A line of notes: it may begin with more of the last one, and have several.
fn add_notes(notes: &mut Vec<(String, String)>, line: &str) {
    let mut rest = line;
    while !rest.is_empty() {
        let (name, behind) = note(rest).map_or((None, rest), |(name, behind)| (Some(name), behind));
        let next = (0..behind.len()).find(|at| behind.get(*at..).and_then(note).is_some());
        let (value, after) = behind.split_at(next.unwrap_or(behind.len()));
        match (name, notes.last_mut()) {
            (Some(name), _) => notes.push((name.to_owned(), value.trim().to_owned())),
            (None, Some(last)) => last.1 = format!("{} {}", last.1, value.trim()),
            (None, None) => {}
        }
        rest = after;
    }
}

/// The note that a text begins with, and what follows.
fn note(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.strip_prefix("**")?.split_once("**")?;
    NOTES.contains(&name).then_some((name, behind))
}
