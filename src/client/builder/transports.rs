//! Which connection types a client uses, and what is particular to WebSocket.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;

use super::{millis, Builder};
use crate::bayeux::ConnectionType;
use crate::error::{Error, ErrorKind};
use crate::transport::endpoints::Endpoints;
use crate::transport::http::Settings;
use crate::transport::websocket::{self, WebSockets};

/// The longest protocol that is asked for. Servers take 8 KiB of headers.
const MAXIMUM_PROTOCOL: usize = 4096;

impl Builder {
    /// The connection types to use, in order of preference: at least one, each once.
    pub fn set_transports(&mut self, transports: &[ConnectionType]) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::call(ErrorKind::InvalidArgument, why));
        if transports.is_empty() {
            return refuse("count: is at least 1".into());
        }
        for (index, transport) in transports.iter().enumerate() {
            if transports.iter().take(index).any(|it| it == transport) {
                return refuse(format!(
                    "transports[{index}]: {} is there already",
                    transport.name()
                ));
            }
        }
        self.session().transports = transports.into();
        Ok(())
    }

    /// Where WebSockets are opened; "": at the URL itself, to the letter.
    pub fn set_websocket_path(&mut self, path: &str) -> Result<(), Error> {
        let mut paths = self.base_paths.clone();
        paths.websocket = self.base_path(path)?;
        // As a URL that is added later is checked.
        for url in self.urls() {
            Endpoints::new(url, &paths, self.append)?;
        }
        self.base_paths = paths;
        self.servers.take();
        Ok(())
    }

    /// The protocol that WebSockets are opened for (`Sec-WebSocket-Protocol`); "": none.
    pub fn set_websocket_protocol(&mut self, name: &str) -> Result<(), Error> {
        let refuse = |kind, why: &str| Err(Error::call(kind, format!("protocol: {why}")));
        if name.len() > MAXIMUM_PROTOCOL {
            return refuse(
                ErrorKind::OutOfRange,
                &format!("a protocol is at most {MAXIMUM_PROTOCOL} bytes long"),
            );
        }
        let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
        let value = HeaderValue::from_str(name).ok();
        let Some(value) = value.filter(|_| name.bytes().all(is_token)) else {
            return refuse(
                ErrorKind::InvalidHeader,
                "a protocol is made of letters, digits and !#$%&'*+-.^_`|~",
            );
        };
        self.websocket_protocol = Some(value).filter(|it| !it.is_empty());
        Ok(())
    }

    /// After so long without a byte over a WebSocket the server is asked for one;
    /// 0: never.
    pub fn set_ping_interval(&mut self, interval: Duration) {
        self.session().ping_interval = millis(interval);
    }

    /// The way to servers' WebSockets, where the host wants it.
    pub(super) fn websockets(&self, settings: &Settings) -> Result<Option<Box<WebSockets>>, Error> {
        if !self.session.transports.contains(&ConnectionType::WebSocket) {
            return Ok(None);
        }
        let websockets = WebSockets::new(websocket::Settings {
            servers: settings.servers.clone(),
            protocol: self.websocket_protocol.clone(),
            authorization: settings.authorization.clone(),
            cookies: settings.cookies.clone(),
            headers: Arc::new(self.headers.clone()),
            maximum_message: self.maximum_response,
            connect_timeout: settings.connect_timeout,
            proxies: settings.proxies.clone(),
            tls: settings.tls.clone(),
            leniencies: settings.leniencies.clone(),
        })?;
        Ok(Some(Box::new(websockets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:9/cometd";

    fn kind(result: Result<(), Error>) -> Option<ErrorKind> {
        result.err().map(|it| it.kind)
    }

    #[test]
    fn each_connection_type_stands_once_in_the_list_and_a_refused_list_changes_nothing() {
        use ConnectionType::{LongPolling, WebSocket};
        let mut builder = Builder::new(URL).unwrap();
        assert_eq!(*builder.session.transports, [LongPolling]);
        for good in [&[WebSocket, LongPolling][..], &[WebSocket]] {
            builder.set_transports(good).unwrap();
            assert_eq!(&*builder.session.transports, good);
        }
        for bad in [&[][..], &[LongPolling, WebSocket, LongPolling]] {
            let refused = kind(builder.set_transports(bad));
            assert_eq!(refused, Some(ErrorKind::InvalidArgument));
            assert_eq!(*builder.session.transports, [WebSocket]);
        }
    }

    #[test]
    fn a_websocket_path_stays_on_its_server_in_each_order_of_calls() {
        let bad = ["http://127.0.0.1:8/", "//other/", "https://127.0.0.1:9/"];
        for path in bad {
            let mut builder = Builder::new(URL).unwrap();
            let refused = kind(builder.set_websocket_path(path));
            assert_eq!(refused, Some(ErrorKind::InvalidArgument), "{path}");
        }
        // One that is good for the first server alone.
        let path = "http://127.0.0.1:9/ws";
        let mut builder = Builder::new(URL).unwrap();
        builder.set_websocket_path(path).unwrap();
        let added = kind(builder.add_url("http://127.0.0.1:8/"));
        assert_eq!(added, Some(ErrorKind::InvalidArgument));
        let mut builder = Builder::new(URL).unwrap();
        builder.add_url("http://127.0.0.1:8/").unwrap();
        let set = kind(builder.set_websocket_path(path));
        assert_eq!(set, Some(ErrorKind::InvalidArgument));
        builder.set_websocket_path("/ws").unwrap();
        let places = builder.servers().unwrap();
        let urls = places.iter().map(|it| it.websocket().url.to_string());
        let urls = urls.collect::<Vec<_>>();
        assert_eq!(urls, ["http://127.0.0.1:9/ws", "http://127.0.0.1:8/ws"]);
        builder.set_websocket_path("").unwrap();
        let places = builder.servers().unwrap();
        assert_eq!(places[0].websocket().url.as_str(), URL);
    }

    #[test]
    fn a_protocol_is_a_token_and_a_refused_one_changes_nothing() {
        let mut builder = Builder::new(URL).unwrap();
        builder.set_websocket_protocol("v1.bayeux+json").unwrap();
        let long = "x".repeat(MAXIMUM_PROTOCOL + 1);
        for (name, wanted) in [
            ("a b", ErrorKind::InvalidHeader),
            ("a,b", ErrorKind::InvalidHeader),
            ("a\r\nX: y", ErrorKind::InvalidHeader),
            ("\"a\"", ErrorKind::InvalidHeader),
            ("ä", ErrorKind::InvalidHeader),
            (&long, ErrorKind::OutOfRange),
        ] {
            assert_eq!(kind(builder.set_websocket_protocol(name)), Some(wanted));
            assert_eq!(
                builder.websocket_protocol.as_ref().unwrap(),
                "v1.bayeux+json"
            );
        }
        builder.set_websocket_protocol(&long[1..]).unwrap();
        builder.set_websocket_protocol("").unwrap();
        assert_eq!(builder.websocket_protocol, None);
    }

    #[test]
    fn headers_of_websocket_are_refused() {
        let mut builder = Builder::new(URL).unwrap();
        for name in [
            "Sec-WebSocket-Protocol",
            "sec-websocket-key",
            "SEC-WEBSOCKET-EXTENSIONS",
            "Sec-WebSocket-Any",
        ] {
            let refused = kind(builder.add_header(name, "x"));
            assert_eq!(refused, Some(ErrorKind::InvalidArgument), "{name}");
        }
        builder.add_header("Origin", "http://a").unwrap();
    }
}
