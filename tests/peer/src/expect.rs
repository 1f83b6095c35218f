//! What a request must be.

use std::fmt;
use std::time::Duration;

use serde_json::{json, Value};

use crate::pattern::{self, Variables};
use crate::server::Request;
use crate::upgrade;

/// The messages of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Handshake,
    /// `true`: one that asks to be answered at once, with a timeout of 0.
    Connect(bool),
    Disconnect,
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    /// To a channel, with this data or any.
    Publish(String, Option<Value>),
    /// Whatever matches the pattern.
    Messages(Value),
    Anything,
    /// A request for a WebSocket.
    Upgrade,
}

/// What a request must come over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    LongPolling,
    WebSocket,
}

/// The connection on which a request must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// One that carried no request before.
    New,
    /// One that did.
    Used,
    /// The one on which the labelled request came.
    Same(String),
}

/// One expected request.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub label: Option<String>,
    pub what: What,
    pub over: Option<Over>,
    /// The request's target; none: as the base says.
    pub path: Option<String>,
    /// Headers that must be there, `Name: pattern`; a `*` stands for anything.
    pub headers: Vec<String>,
    pub no_headers: Vec<String>,
    /// Cookies that must be there, `name=value`.
    pub cookies: Vec<String>,
    pub on: Option<On>,
    /// How long after the peer's last action it comes.
    pub after: Option<(Duration, Option<Duration>)>,
}

impl Expect {
    pub fn new(what: What) -> Self {
        Self {
            label: None,
            what,
            over: None,
            path: None,
            headers: Vec::new(),
            no_headers: Vec::new(),
            cookies: Vec::new(),
            on: None,
            after: None,
        }
    }

    pub fn handshake() -> Self {
        Self::new(What::Handshake)
    }

    pub fn connect() -> Self {
        Self::new(What::Connect(false))
    }

    pub fn connect_at_once() -> Self {
        Self::new(What::Connect(true))
    }

    pub fn disconnect() -> Self {
        Self::new(What::Disconnect)
    }

    pub fn subscribe(channels: &[&str]) -> Self {
        Self::new(What::Subscribe(
            channels.iter().map(|it| (*it).to_owned()).collect(),
        ))
    }

    pub fn publish(channel: &str, data: Option<Value>) -> Self {
        Self::new(What::Publish(channel.to_owned(), data))
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    pub fn cookie(mut self, cookie: impl Into<String>) -> Self {
        self.cookies.push(cookie.into());
        self
    }

    pub fn on(mut self, on: On) -> Self {
        self.on = Some(on);
        self
    }

    pub fn after(mut self, least: Duration, most: Option<Duration>) -> Self {
        self.after = Some((least, most));
        self
    }

    pub fn upgrade() -> Self {
        Self::new(What::Upgrade)
    }

    pub fn over(mut self, over: Over) -> Self {
        self.over = Some(over);
        self
    }

    fn pattern(&self, is_frame: bool) -> Option<Value> {
        let subscription = |channel: &str, channels: &[String]| {
            channels
                .iter()
                .map(|it| {
                    json!({"channel": channel, "id": "$*", "clientId": "$client",
                           "subscription": it, "...": ""})
                })
                .collect()
        };
        Some(match &self.what {
            What::Anything | What::Upgrade => return None,
            What::Messages(pattern) => pattern.clone(),
            What::Handshake => json!([{
                "channel": "/meta/handshake", "id": "$*", "version": "1.0",
                "supportedConnectionTypes": "$*", "clientId": "$absent", "...": ""
            }]),
            What::Connect(at_once) => json!([{
                "channel": "/meta/connect", "id": "$*", "clientId": "$client",
                "connectionType": if is_frame { "websocket" } else { "long-polling" },
                "advice": if *at_once { json!({"timeout": 0, "...": ""}) } else { "$absent".into() },
                "...": ""
            }]),
            What::Disconnect => json!([{
                "channel": "/meta/disconnect", "id": "$*", "clientId": "$client", "...": ""
            }]),
            What::Subscribe(channels) => subscription("/meta/subscribe", channels),
            What::Unsubscribe(channels) => subscription("/meta/unsubscribe", channels),
            What::Publish(channel, data) => json!([{
                "channel": channel, "id": "$*", "clientId": "$client",
                "data": data.clone().unwrap_or_else(|| "$*".into()), "...": ""
            }]),
        })
    }

    fn check_target(&self, base: Option<&str>, target: &str) -> Option<String> {
        if let Some(path) = &self.path {
            return (path != target).then(|| format!("path: expected {path}, came {target}"));
        }
        let base = base?.trim_end_matches('/');
        let suffix = match self.what {
            What::Handshake => "/handshake",
            What::Connect(_) => "/connect",
            What::Disconnect => "/disconnect",
            What::Upgrade => "",
            What::Messages(_) | What::Anything => return None,
            _ => "/",
        };
        let wanted = format!("{base}{suffix}");
        (wanted != target && (suffix != "/" || target != base))
            .then(|| format!("path: expected {wanted}, came {target}"))
    }

    /// What of the request's own contents differs.
    pub fn compare(
        &self,
        base: Option<&str>,
        request: &Request,
        variables: &mut Variables,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        if !request.is_frame {
            differences.extend(self.check_target(base, &request.target));
        }
        match self.over {
            Some(Over::WebSocket) if !request.is_frame => {
                differences.push("over: expected websocket, came long-polling".into());
            }
            Some(Over::LongPolling) if request.is_frame => {
                differences.push("over: expected long-polling, came websocket".into());
            }
            _ => {}
        }
        if self.what == What::Upgrade {
            differences.extend(upgrade::objections(request));
        }
        if let Some(pattern) = self.pattern(request.is_frame) {
            if !request.is_frame && request.method != "POST" {
                differences.push(format!("method: expected POST, came {}", request.method));
            }
            match serde_json::from_slice(&request.body) {
                Ok(body) => pattern::compare(&pattern, &body, "", variables, &mut differences),
                Err(error) => differences.push(format!("body: expected JSON: {error}")),
            }
        }
        for header in &self.headers {
            let (name, wanted) = header.split_once(':').unwrap_or((header, "*"));
            let wanted = wanted.trim();
            let values: Vec<_> = request.header(name).collect();
            if !values.iter().any(|value| matches_stars(wanted, value)) {
                differences.push(match values.as_slice() {
                    [] => format!("header {name}: expected {wanted:?}, nothing came"),
                    came => format!("header {name}: expected {wanted:?}, came {came:?}"),
                });
            }
        }
        for name in &self.no_headers {
            if let Some(value) = request.header(name).next() {
                differences.push(format!("header {name}: should be absent, came {value:?}"));
            }
        }
        let cookies: Vec<_> = request
            .header("cookie")
            .flat_map(|value| value.split("; "))
            .collect();
        for cookie in &self.cookies {
            if !cookies.contains(&cookie.as_str()) {
                differences.push(format!("cookie: expected {cookie:?}, came {cookies:?}"));
            }
        }
        differences
    }
}

/// Compares with a text in which each `*` stands for any text.
fn matches_stars(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = None;
        match &self.what {
            What::Handshake => f.write_str("handshake")?,
            What::Connect(false) => f.write_str("connect")?,
            What::Connect(true) => f.write_str("connect at-once")?,
            What::Disconnect => f.write_str("disconnect")?,
            What::Subscribe(channels) => write!(f, "subscribe {}", channels.join(" "))?,
            What::Unsubscribe(channels) => write!(f, "unsubscribe {}", channels.join(" "))?,
            What::Publish(channel, wanted) => {
                write!(f, "publish {channel}")?;
                data = wanted.as_ref();
            }
            What::Messages(pattern) => {
                f.write_str("messages")?;
                data = Some(pattern);
            }
            What::Anything => f.write_str("anything")?,
            What::Upgrade => f.write_str("upgrade")?,
        }
        if let Some(label) = &self.label {
            write!(f, " as {label}")?;
        }
        match self.over {
            None => {}
            Some(Over::LongPolling) => f.write_str(" over=long-polling")?,
            Some(Over::WebSocket) => f.write_str(" over=websocket")?,
        }
        if let Some(path) = &self.path {
            write!(f, " path={path:?}")?;
        }
        for header in &self.headers {
            write!(f, " header={header:?}")?;
        }
        for name in &self.no_headers {
            write!(f, " no-header={name}")?;
        }
        for cookie in &self.cookies {
            write!(f, " cookie={cookie:?}")?;
        }
        match &self.on {
            None => {}
            Some(On::New) => f.write_str(" on=new")?,
            Some(On::Used) => f.write_str(" on=used")?,
            Some(On::Same(label)) => write!(f, " on={label}")?,
        }
        if let Some((least, most)) = self.after {
            write!(f, " after={}..", least.as_millis())?;
            if let Some(most) = most {
                write!(f, "{}", most.as_millis())?;
            }
        }
        if let Some(data) = data {
            write!(f, " : {data}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn request(target: &str, headers: &[(&str, &str)], body: &str) -> Request {
        Request {
            connection: 1,
            method: "POST".into(),
            target: target.into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            body: body.as_bytes().to_vec(),
            arrived: Instant::now(),
            is_frame: false,
        }
    }

    #[test]
    fn stars() {
        for (pattern, text, same) in [
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
        ] {
            assert_eq!(matches_stars(pattern, text), same, "{pattern} {text}");
        }
    }

    #[test]
    fn the_whole_request_is_compared() {
        let expected = Expect::handshake()
            .header("Content-Type: application/json*")
            .header("X: 1")
            .cookie("a=b");
        let request = request(
            "/other",
            &[
                ("content-type", "application/json;charset=UTF-8"),
                ("Cookie", "a=c; d=e"),
            ],
            r#"[{"channel":"/meta/handshake","id":"1","version":"1.0","clientId":"c",
                "supportedConnectionTypes":["long-polling"]}]"#,
        );
        assert_eq!(
            expected.compare(Some("/cometd/"), &request, &mut Variables::new()),
            [
                "path: expected /cometd/handshake, came /other",
                r#"[0].clientId: should be absent, came "c""#,
                r#"header X: expected "1", nothing came"#,
                r#"cookie: expected "a=b", came ["a=c", "d=e"]"#,
            ]
        );
    }
}
