//! The steps of a script that only a WebSocket has.

use std::fmt;

use crate::server::Cut;
use crate::upgrade::Upgrade;
use crate::websocket::{Frame, BINARY, CLOSE, PING, PONG, TEXT};
use crate::words::{escape, is_number, number, unescape};

/// A step on the WebSocket of a labelled request, or of the last one.
#[derive(Debug, Clone, PartialEq)]
pub enum SocketStep {
    /// Accepts the request for a WebSocket.
    Upgrade(Upgrade),
    /// A text message on the WebSocket of a request, with `$ok` and the like put
    /// in; in fragments of so many bytes, 0: whole.
    Text(Option<String>, usize, String),
    /// Any other frame.
    Frame(Option<String>, Frame),
    /// What comes on the connection of a request is read and not answered.
    Swallow(Option<String>),
    /// Nothing more is read on it, or again.
    Read(Option<String>, bool),
    /// So many more bytes are sent on it.
    Cut(Option<String>, usize, Cut),
    /// The client must send this kind of frame; a close frame with this code.
    Control(Option<String>, u8, Option<u16>),
}

fn code(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no code of a close frame"))
}

/// `close` with a code.
pub fn parse_close<'a>(
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<SocketStep, String> {
    let (label, mut words) = labelled(words);
    let code = code(words.next().ok_or("a reason needs a code")?)?;
    let mut frame = Frame::close(Some(code), "");
    frame.payload.extend(unescape(rest.unwrap_or_default())?);
    no_more(words)?;
    Ok(SocketStep::Frame(label, frame))
}

/// A label that may stand in front of a number.
fn labelled<'a>(
    words: impl Iterator<Item = &'a str>,
) -> (Option<String>, impl Iterator<Item = &'a str>) {
    let mut words = words.peekable();
    let label = words.next_if(|word| !is_number(word)).map(str::to_owned);
    (label, words)
}

fn no_more<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    match words.next() {
        Some(word) => Err(format!("{word:?} is too much")),
        None => Ok(()),
    }
}

pub fn parse<'a>(
    name: &str,
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<SocketStep, String> {
    match name {
        "upgrade" => return Ok(SocketStep::Upgrade(parse_upgrade(words, rest)?)),
        "frame" | "fragment" | "binary" | "ping" | "pong" | "raw" => {
            return parse_frame(name, words, rest);
        }
        "swallow" | "not-read" | "read" | "cut" | "pinged" | "ponged" | "closes" => {}
        _ => return Err(format!("there is no step {name:?}")),
    }
    if rest.is_some() {
        return Err(format!("{name} takes no \" : …\""));
    }
    let (label, mut words) = labelled(words);
    let step = match name {
        "swallow" => SocketStep::Swallow(label),
        "not-read" => SocketStep::Read(label, false),
        "read" => SocketStep::Read(label, true),
        "cut" => {
            let bytes = number(words.next().ok_or("cut needs a number of bytes")?)?;
            let how = match words.next() {
                None => Cut::Close,
                Some("reset") => Cut::Reset,
                Some("stall") => Cut::Stall,
                Some(word) => return Err(format!("{word:?} is too much")),
            };
            SocketStep::Cut(label, bytes, how)
        }
        "pinged" => SocketStep::Control(label, PING, None),
        "ponged" => SocketStep::Control(label, PONG, None),
        _ => SocketStep::Control(label, CLOSE, words.next().map(code).transpose()?),
    };
    no_more(words)?;
    Ok(step)
}

fn parse_frame<'a>(
    name: &str,
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<SocketStep, String> {
    let mut label = None;
    let mut size = usize::from(name == "fragment");
    let opcode = match name {
        "binary" => BINARY,
        "ping" => PING,
        "pong" => PONG,
        _ => TEXT,
    };
    let mut frame = Frame::new(opcode, "");
    for (index, word) in words.enumerate() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (name, key) {
            ("fragment", "size") => size = number(value)?.max(1),
            ("raw", "opcode") => frame.opcode = at_most(value, 15)?,
            ("raw", "reserved") => frame.reserved = at_most(value, 7)?,
            ("raw", "more") => frame.more = true,
            ("raw", "masked") => frame.mask = Some([0x37, 0xfa, 0x21, 0x3d]),
            ("raw", "length") => {
                frame.length = Some(
                    value
                        .parse()
                        .map_err(|_| format!("{value:?} is no number"))?,
                );
            }
            (_, key) if index == 0 && key == word => label = Some(word.to_owned()),
            _ => return Err(format!("{name} has no {key:?}")),
        }
    }
    match name {
        "frame" | "fragment" => {
            let text = rest.ok_or("a text message needs \" : TEXT\"")?;
            Ok(SocketStep::Text(
                label,
                if name == "frame" { 0 } else { size },
                text.to_owned(),
            ))
        }
        _ => {
            frame.payload = unescape(rest.unwrap_or_default())?;
            Ok(SocketStep::Frame(label, frame))
        }
    }
}

fn at_most(text: &str, most: u8) -> Result<u8, String> {
    match text.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(format!("{text:?} is no number from 0 to {most}")),
    }
}

fn parse_upgrade<'a>(
    words: impl Iterator<Item = &'a str>,
    rest: Option<&str>,
) -> Result<Upgrade, String> {
    let mut upgrade = Upgrade {
        frame: rest.map(str::to_owned),
        ..Upgrade::default()
    };
    for (index, word) in words.enumerate() {
        match word.split_once('=') {
            Some(("header", value)) => upgrade.headers.push(value.to_owned()),
            Some(("protocol", value)) => upgrade = upgrade.protocol(value),
            Some(("connection", value)) => upgrade.connection = Some(value.to_owned()),
            Some(("upgrade", value)) => upgrade.upgrade = Some(value.to_owned()),
            Some(("accept", value)) => upgrade.accept = Some(value.to_owned()),
            None if index == 0 => upgrade.to = Some(word.to_owned()),
            _ => return Err(format!("upgrade has no {word:?}")),
        }
    }
    Ok(upgrade)
}

impl fmt::Display for SocketStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name: &str, label: &Option<String>| {
            f.write_str(name)?;
            label.iter().try_for_each(|label| write!(f, " {label}"))
        };
        match self {
            Self::Upgrade(upgrade) => write!(f, "{upgrade}"),
            Self::Text(label, 0, text) => {
                named(f, "frame", label)?;
                write!(f, " : {text}")
            }
            Self::Text(label, size, text) => {
                named(f, "fragment", label)?;
                write!(f, " size={size} : {text}")
            }
            Self::Frame(label, frame) => {
                named(f, "raw", label)?;
                write!(f, " opcode={}", frame.opcode)?;
                if frame.reserved != 0 {
                    write!(f, " reserved={}", frame.reserved)?;
                }
                if frame.more {
                    f.write_str(" more")?;
                }
                if frame.mask.is_some() {
                    f.write_str(" masked")?;
                }
                if let Some(length) = frame.length {
                    write!(f, " length={length}")?;
                }
                write!(f, " : {}", escape(&frame.payload))
            }
            Self::Swallow(label) => named(f, "swallow", label),
            Self::Read(label, true) => named(f, "read", label),
            Self::Read(label, false) => named(f, "not-read", label),
            Self::Cut(label, bytes, how) => {
                named(f, "cut", label)?;
                write!(f, " {bytes}")?;
                f.write_str(match how {
                    Cut::Close => "",
                    Cut::Reset => " reset",
                    Cut::Stall => " stall",
                })
            }
            Self::Control(label, PING, _) => named(f, "pinged", label),
            Self::Control(label, PONG, _) => named(f, "ponged", label),
            Self::Control(label, _, code) => {
                named(f, "closes", label)?;
                code.iter().try_for_each(|code| write!(f, " {code}"))
            }
        }
    }
}
