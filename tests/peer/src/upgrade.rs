//! How a request for a WebSocket is accepted, rightly or wrongly.

use std::fmt;

use crate::server::Request;
use crate::websocket::{self, Frame};

/// A 101.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// The label of the request; none: the last one expected.
    pub to: Option<String>,
    /// More headers, `Name: value`.
    pub headers: Vec<String>,
    /// Instead of `websocket`; empty: without the header, as for the next two.
    pub upgrade: Option<String>,
    /// Instead of `Upgrade`.
    pub connection: Option<String>,
    /// Instead of the right one.
    pub accept: Option<String>,
    /// The text of a frame in the same packet.
    pub frame: Option<String>,
}

impl Upgrade {
    pub fn ok() -> Self {
        Self::default()
    }

    pub fn header(mut self, header: impl Into<String>) -> Self {
        self.headers.push(header.into());
        self
    }

    /// Chooses a sub-protocol.
    pub fn protocol(self, name: &str) -> Self {
        self.header(format!("Sec-WebSocket-Protocol: {name}"))
    }

    pub fn connection(mut self, value: impl Into<String>) -> Self {
        self.connection = Some(value.into());
        self
    }

    pub fn accept(mut self, value: impl Into<String>) -> Self {
        self.accept = Some(value.into());
        self
    }

    /// The whole response to a request with this Sec-WebSocket-Key.
    pub fn render(&self, key: &str) -> Vec<u8> {
        let mut head = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        let accept = websocket::accept(key);
        for (name, own, right) in [
            ("Upgrade", &self.upgrade, "websocket"),
            ("Connection", &self.connection, "Upgrade"),
            ("Sec-WebSocket-Accept", &self.accept, &accept),
        ] {
            let value = own.as_deref().unwrap_or(right);
            if !value.is_empty() {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(
            self.frame
                .iter()
                .flat_map(|it| Frame::text(it.as_str()).to_bytes()),
        );
        bytes
    }
}

/// What is wrong with a request for a WebSocket.
pub fn objections(request: &Request) -> Vec<String> {
    let mut objections = Vec::new();
    if request.method != "GET" {
        objections.push(format!("method: expected GET, came {}", request.method));
    }
    if !request.is_upgrade() {
        objections.push("header upgrade: expected \"websocket\"".into());
    }
    let tokens: Vec<_> = request
        .header("connection")
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .collect();
    if !tokens.iter().any(|it| it.eq_ignore_ascii_case("upgrade")) {
        objections.push(format!(
            "header connection: expected \"Upgrade\", came {tokens:?}"
        ));
    }
    let versions: Vec<_> = request.header("sec-websocket-version").collect();
    if versions != ["13"] {
        objections.push(format!(
            "header sec-websocket-version: expected \"13\", came {versions:?}"
        ));
    }
    let keys: Vec<_> = request.header("sec-websocket-key").collect();
    if !matches!(keys.as_slice(), [key] if websocket::is_key(key)) {
        objections.push(format!(
            "header sec-websocket-key: expected 16 bytes in base64, came {keys:?}"
        ));
    }
    objections
}

impl fmt::Display for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("upgrade")?;
        if let Some(label) = &self.to {
            write!(f, " {label}")?;
        }
        for header in &self.headers {
            write!(f, " header={header:?}")?;
        }
        for (name, value) in [
            ("upgrade", &self.upgrade),
            ("connection", &self.connection),
            ("accept", &self.accept),
        ] {
            if let Some(value) = value {
                write!(f, " {name}={value:?}")?;
            }
        }
        if let Some(text) = &self.frame {
            write!(f, " : {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn request(headers: &[(&str, &str)]) -> Request {
        Request {
            connection: 1,
            method: "GET".into(),
            target: "/cometd".into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            body: Vec::new(),
            arrived: Instant::now(),
            is_frame: false,
        }
    }

    #[test]
    fn a_101_as_the_test_wants_it() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let whole = Upgrade::ok().protocol("x").render(key);
        assert_eq!(
            String::from_utf8(whole).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
             Sec-WebSocket-Protocol: x\r\n\r\n"
        );
        let mut odd = Upgrade::ok().connection("keep-alive, Upgrade").accept("");
        odd.upgrade = Some("WEBSOCKET".into());
        odd.frame = Some("[]".into());
        assert_eq!(
            odd.render(key),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WEBSOCKET\r\n\
              Connection: keep-alive, Upgrade\r\n\r\n\x81\x02[]"
        );
    }

    #[test]
    fn a_request_must_be_whole() {
        let good = [
            ("Upgrade", "websocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert!(objections(&request(&good)).is_empty());
        for index in 0..good.len() {
            let mut bad = good;
            bad[index].1 = "other";
            let told = objections(&request(&bad));
            assert_eq!(told.len(), 1, "{told:?}");
            let name = good[index].0.to_lowercase();
            assert!(told[0].contains(&name), "{told:?}");
        }
    }
}
