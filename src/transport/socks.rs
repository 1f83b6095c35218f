//! SOCKS 5 (RFC 1928, and RFC 1929 for user and password), the client's side: what
//! is said, and what the answers mean. No I/O.

use std::fmt;
use std::net::IpAddr;

const VERSION: u8 = 5;
const CREDENTIALS_VERSION: u8 = 1;

/// The ways to authorize.
const NOTHING: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_OF_THEM: u8 = 0xff;

const CONNECT: u8 = 1;

/// The kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// A text of which one byte says how long it is.
#[derive(Clone, PartialEq, Eq)]
struct Short(String);

impl Short {
    fn new(text: &str) -> Option<Self> {
        u8::try_from(text.len()).ok()?;
        Some(Self(text.to_owned()))
    }

    fn write(&self, into: &mut Vec<u8>) {
        // It was short enough when it was made.
        into.push(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        into.extend_from_slice(self.0.as_bytes());
    }
}

/// A user and a password. They have no debug output.
#[derive(Clone)]
pub struct Credentials {
    user: Short,
    password: Short,
}

impl Credentials {
    /// `None` when one is too long, or there is no user.
    pub fn new(user: &str, password: &str) -> Option<Self> {
        Some(Self {
            user: Short::new(user).filter(|it| !it.0.is_empty())?,
            password: Short::new(password)?,
        })
    }

    pub fn user(&self) -> &str {
        &self.user.0
    }

    pub fn password(&self) -> &str {
        &self.password.0
    }
}

/// Where the proxy is to connect to.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(Short),
}

impl Target {
    pub fn address(address: IpAddr, port: u16) -> Self {
        Self {
            host: Host::Address(address),
            port,
        }
    }

    /// `None` for a name that is too long.
    pub fn name(name: &str, port: u16) -> Option<Self> {
        let host = match name.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(Short::new(name)?),
        };
        Some(Self { host, port })
    }

    fn request(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, CONNECT, 0];
        match &self.host {
            Host::Address(IpAddr::V4(address)) => {
                bytes.push(IPV4);
                bytes.extend(address.octets());
            }
            Host::Address(IpAddr::V6(address)) => {
                bytes.push(IPV6);
                bytes.extend(address.octets());
            }
            Host::Name(name) => {
                bytes.push(NAME);
                name.write(&mut bytes);
            }
        }
        bytes.extend(self.port.to_be_bytes());
        bytes
    }
}

/// What has to happen next.
#[derive(Debug, PartialEq, Eq)]
pub struct Next {
    /// This is sent …
    pub say: Vec<u8>,
    /// … and exactly so many bytes are read. What comes behind the last of them
    /// is the server's.
    pub read: usize,
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Refusal {
    /// What was heard is no SOCKS 5: its first byte.
    OtherProtocol(u8),
    /// Nothing of what was offered will do.
    NoMethod { had_credentials: bool },
    /// It has chosen what was not offered.
    OtherMethod(u8),
    /// The user or password is not the right one.
    Credentials(u8),
    /// It does not connect.
    Reply(u8),
    /// An address of no kind that there is.
    OtherAddress(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProtocol(first) => {
                write!(f, "does not answer in SOCKS 5: it begins with {first:#04x}")?;
                f.write_str(match first {
                    0 => "; does it speak SOCKS 4?",
                    b'H' => "; does it speak HTTP?",
                    _ => "",
                })
            }
            Self::NoMethod {
                had_credentials: false,
            } => f.write_str("wants credentials: no acceptable SOCKS method"),
            Self::NoMethod { .. } => f.write_str(
                "wants something else than user and password: no acceptable SOCKS method",
            ),
            Self::OtherMethod(method) => {
                write!(f, "wants the SOCKS method {method}, which was not offered")
            }
            Self::Credentials(status) => {
                write!(f, "does not accept the credentials: SOCKS status {status}")
            }
            Self::Reply(code) => write!(f, "SOCKS reply {code}, {}", reply_words(*code)),
            Self::OtherAddress(kind) => write!(
                f,
                "does not answer in SOCKS 5: there is no address of the kind {kind}"
            ),
        }
    }
}

/// As RFC 1928 has them, section 6.
fn reply_words(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "kind of address not supported",
        _ => "which means nothing",
    }
}

/// What is awaited.
#[derive(Clone, Copy)]
enum Awaited {
    Method,
    Accepted,
    Reply,
    /// The length of a name, in front of it.
    NameLength,
    /// The rest of an address, which nobody needs.
    Address,
}

/// One connection's way to its server.
pub struct Conversation<'a> {
    credentials: Option<&'a Credentials>,
    target: &'a Target,
    awaited: Awaited,
}

impl<'a> Conversation<'a> {
    pub fn new(credentials: Option<&'a Credentials>, target: &'a Target) -> Self {
        Self {
            credentials,
            target,
            awaited: Awaited::Method,
        }
    }

    pub fn begin(&self) -> Next {
        let say = match self.credentials {
            None => vec![VERSION, 1, NOTHING],
            Some(_) => vec![VERSION, 2, NOTHING, USER_AND_PASSWORD],
        };
        Next { say, read: 2 }
    }

    /// Takes as many bytes as were to be read; `None` when the server is there.
    pub fn heard(&mut self, bytes: &[u8]) -> Result<Option<Next>, Refusal> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let read = |read| Next {
            say: Vec::new(),
            read,
        };
        let (awaited, next) = match self.awaited {
            Awaited::Method => {
                of_version(byte(0), VERSION)?;
                match (byte(1), self.credentials) {
                    (NOTHING, _) => self.request(),
                    (USER_AND_PASSWORD, Some(credentials)) => {
                        let mut say = vec![CREDENTIALS_VERSION];
                        credentials.user.write(&mut say);
                        credentials.password.write(&mut say);
                        (Awaited::Accepted, Next { say, read: 2 })
                    }
                    (NONE_OF_THEM, credentials) => {
                        return Err(Refusal::NoMethod {
                            had_credentials: credentials.is_some(),
                        })
                    }
                    (method, _) => return Err(Refusal::OtherMethod(method)),
                }
            }
            Awaited::Accepted => match byte(1) {
                // Some begin with the version of SOCKS, which does no harm.
                0 => self.request(),
                status => return Err(Refusal::Credentials(status)),
            },
            Awaited::Reply => {
                of_version(byte(0), VERSION)?;
                // Who refuses may leave out the rest.
                if byte(1) != 0 {
                    return Err(Refusal::Reply(byte(1)));
                }
                match byte(3) {
                    IPV4 => (Awaited::Address, read(4 + 2)),
                    IPV6 => (Awaited::Address, read(16 + 2)),
                    NAME => (Awaited::NameLength, read(1)),
                    kind => return Err(Refusal::OtherAddress(kind)),
                }
            }
            Awaited::NameLength => (Awaited::Address, read(usize::from(byte(0)) + 2)),
            Awaited::Address => return Ok(None),
        };
        self.awaited = awaited;
        Ok(Some(next))
    }

    fn request(&self) -> (Awaited, Next) {
        let say = self.target.request();
        (Awaited::Reply, Next { say, read: 4 })
    }
}

fn of_version(byte: u8, version: u8) -> Result<(), Refusal> {
    match byte == version {
        true => Ok(()),
        false => Err(Refusal::OtherProtocol(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a whole conversation: all that is said, and how it ends.
    fn played(
        credentials: Option<&Credentials>,
        target: &Target,
        answers: &[&[u8]],
    ) -> (Vec<Vec<u8>>, Result<usize, Refusal>) {
        let mut heard: Vec<u8> = answers.concat();
        let whole = heard.len();
        let mut conversation = Conversation::new(credentials, target);
        let mut said = Vec::new();
        let mut next = conversation.begin();
        loop {
            if !next.say.is_empty() {
                said.push(next.say);
            }
            let rest = heard.split_off(next.read);
            match conversation.heard(&heard) {
                Ok(Some(more)) => next = more,
                Ok(None) => return (said, Ok(whole - rest.len())),
                Err(refusal) => return (said, Err(refusal)),
            }
            heard = rest;
        }
    }

    const YES: &[u8] = &[5, 0, 0, 1, 127, 0, 0, 1, 0, 80];

    #[test]
    fn names_and_addresses_are_asked_for_as_the_rfc_has_it_263() {
        let v6: &[u8] = &[
            5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187,
        ];
        for (host, port, request) in [
            (
                "h.example",
                8080,
                &b"\x05\x01\x00\x03\x09h.example\x1f\x90"[..],
            ),
            ("127.0.0.1", 80, &[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]),
            ("::1", 443, v6),
        ] {
            let target = Target::name(host, port).unwrap();
            let (said, end) = played(None, &target, &[&[5, 0], YES]);
            assert_eq!(said, [&[5, 1, 0], request]);
            assert_eq!(end, Ok(12));
        }
        assert!(Target::name(&"n".repeat(255), 1).is_some());
        assert!(Target::name(&"n".repeat(256), 1).is_none());
    }

    #[test]
    fn credentials_are_offered_and_given_to_who_wants_them_264() {
        let target = Target::name("h", 80).unwrap();
        let credentials = Credentials::new("us", "password").unwrap();
        let (said, end) = played(Some(&credentials), &target, &[&[5, 2], &[1, 0], YES]);
        assert_eq!(said[0], [5, 2, 0, 2]);
        assert_eq!(said[1], b"\x01\x02us\x08password");
        assert_eq!((said.len(), end), (3, Ok(14)));
        let (said, end) = played(Some(&credentials), &target, &[&[5, 0], YES]);
        assert_eq!((said.len(), end), (2, Ok(12)));
        let longest = "x".repeat(255);
        assert!(Credentials::new(&longest, &longest).is_some());
        assert!(Credentials::new("u", "").is_some());
        for (user, password) in [("", "p"), (&*"x".repeat(256), "p"), ("u", &"x".repeat(256))] {
            assert!(Credentials::new(user, password).is_none());
        }
    }

    #[test]
    fn a_reply_is_read_to_its_end_and_no_further_263() {
        let target = Target::name("h", 80).unwrap();
        let name = [&[5, 0, 0, 3, 4][..], b"name", &[0, 80]].concat();
        let no_name = [5, 0, 0, 3, 0, 0, 80];
        let v6 = [&[5, 0, 0, 4][..], &[0; 18]].concat();
        let unusual = [5, 0, 7, 1, 0, 0, 0, 0, 0, 0];
        for reply in [YES, &name, &no_name, &v6, &unusual] {
            let (_, end) = played(None, &target, &[&[5, 0], reply, b"the server's"]);
            assert_eq!(end, Ok(2 + reply.len()));
        }
    }

    #[test]
    fn refusals_are_told_in_words_263_264() {
        let target = Target::name("h", 80).unwrap();
        let credentials = Credentials::new("us", "password").unwrap();
        let with = Some(&credentials);
        for (credentials, answers, words) in [
            (
                None,
                &[&b"HTTP"[..]][..],
                "it begins with 0x48; does it speak HTTP?",
            ),
            (
                None,
                &[&[0, 90]],
                "it begins with 0x00; does it speak SOCKS 4?",
            ),
            (
                None,
                &[&[4, 0]],
                "does not answer in SOCKS 5: it begins with 0x04",
            ),
            (
                None,
                &[&[5, 255]],
                "wants credentials: no acceptable SOCKS method",
            ),
            (
                with,
                &[&[5, 255]],
                "wants something else than user and password: no acceptable SOCKS method",
            ),
            (
                None,
                &[&[5, 2]],
                "wants the SOCKS method 2, which was not offered",
            ),
            (
                with,
                &[&[5, 1]],
                "wants the SOCKS method 1, which was not offered",
            ),
            (
                with,
                &[&[5, 2], &[1, 1]],
                "does not accept the credentials: SOCKS status 1",
            ),
            (
                with,
                &[&[5, 2], &[1, 255]],
                "does not accept the credentials: SOCKS status 255",
            ),
            (None, &[&[5, 0], &[4, 0, 0, 1]], "it begins with 0x04"),
            (
                None,
                &[&[5, 0], &[5, 0, 0, 2]],
                "there is no address of the kind 2",
            ),
            (
                None,
                &[&[5, 0], &[5, 1, 0, 1]],
                "SOCKS reply 1, general failure",
            ),
            (
                None,
                &[&[5, 0], &[5, 2, 0, 1]],
                "SOCKS reply 2, not allowed by its rules",
            ),
            (
                None,
                &[&[5, 0], &[5, 3, 0, 1]],
                "SOCKS reply 3, network unreachable",
            ),
            (
                None,
                &[&[5, 0], &[5, 4, 0, 1]],
                "SOCKS reply 4, host unreachable",
            ),
            (
                None,
                &[&[5, 0], &[5, 5, 0, 1]],
                "SOCKS reply 5, connection refused",
            ),
            (
                None,
                &[&[5, 0], &[5, 6, 0, 1]],
                "SOCKS reply 6, TTL expired",
            ),
            (
                None,
                &[&[5, 0], &[5, 7, 0, 1]],
                "SOCKS reply 7, command not supported",
            ),
            (
                None,
                &[&[5, 0], &[5, 8, 0, 1]],
                "SOCKS reply 8, kind of address not supported",
            ),
            (
                None,
                &[&[5, 0], &[5, 9, 0, 9]],
                "SOCKS reply 9, which means nothing",
            ),
        ] {
            let refusal = played(credentials, &target, answers).1.unwrap_err();
            assert!(refusal.to_string().ends_with(words), "{refusal}");
        }
    }
}
