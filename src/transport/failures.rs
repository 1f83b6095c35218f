//! What goes wrong in an HTTP exchange, in our words.

use std::error::Error as StdError;
use std::fmt;

use super::heads::HeadFailure;
use crate::bayeux::error_text::one_line;
use crate::error::{ErrorKind, Failure};

/// Why there is no connection.
#[derive(Debug)]
pub struct ConnectFailure {
    pub kind: ErrorKind,
    pub text: String,
    /// Of the proxy's response; 0 when there was none.
    pub http_status: u16,
    /// Nothing is wrong with what was asked for: the resolver had no answer.
    pub temporary: bool,
    /// The proxy was reached, and made no tunnel.
    pub no_tunnel: bool,
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for ConnectFailure {}

impl ConnectFailure {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            http_status: 0,
            temporary: false,
            no_tunnel: false,
        }
    }

    pub fn to_failure(&self) -> Failure {
        let mut failure = Failure::new(self.kind, self.text.clone());
        failure.http_status = self.http_status;
        failure.temporary = self.temporary;
        failure
    }
}

/// An error of one HTTP exchange.
pub fn http_failure(error: &hyper::Error) -> Failure {
    if error.is_canceled() {
        // Something ended the connection before the request was taken up.
        let cause = error.source().and_then(|it| it.downcast_ref());
        if let Some(cause) = cause {
            return http_failure(cause);
        }
    }
    if error.is_parse() {
        return Failure::new(
            ErrorKind::MalformedHttp,
            format!("the response is not HTTP/1.1: {}", chain(error)),
        );
    }
    if let Some(head) = head_failure(error) {
        return Failure::new(ErrorKind::MalformedHttp, head.to_string());
    }
    let text = chain(error);
    // In TLS 1.3 a server refuses a client's certificate when the handshake is
    // over. The library's error has no kinds, only OpenSSL's words.
    if text.contains("SSL alert number") {
        return Failure::new(ErrorKind::Tls, format!("tls: {}", without_places(&text)));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Failure::new(
            ErrorKind::ConnectionLost,
            "the server closed the connection before the whole response",
        );
    }
    Failure::new(
        ErrorKind::ConnectionLost,
        format!("the connection broke: {text}"),
    )
}

/// Whether a head was given up on its way to hyper.
fn head_failure(error: &hyper::Error) -> Option<&HeadFailure> {
    let io = error.source()?.downcast_ref::<std::io::Error>()?;
    io.get_ref()?.downcast_ref()
}

/// An error and its causes on one line, each said once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = plain(error);
    let mut source = error.source();
    while let Some(cause) = source {
        let text = plain(cause);
        // Some errors repeat their cause, or add nothing to it.
        if line == "connection error" {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    one_line(&line, 500)
}

/// I/O errors without the "(os error 111)".
pub fn plain(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) if io.raw_os_error().is_some() => {
            let text = io.to_string();
            let text = text.split(" (os error").next().unwrap_or_default();
            let mut letters = text.chars();
            match letters.next() {
                Some(first) => first.to_lowercase().chain(letters).collect(),
                None => io.kind().to_string(),
            }
        }
        _ => error.to_string(),
    }
}

/// OpenSSL's errors without what is about its source: "error:0A000086:SSL
/// routines:tls_post_process_server_certificate:certificate verify
/// failed:../ssl/statem/statem_clnt.c:1889: (self-signed certificate)".
pub fn without_places(text: &str) -> String {
    // There may be several of them.
    let told = text.replace(", error:", "\nerror:");
    let told: Vec<_> = told.split('\n').map(without_place).collect();
    told.join("; ")
}

fn without_place(text: &str) -> String {
    let mut parts = text.split(':').peekable();
    let mut kept: Vec<&str> = Vec::new();
    while let Some(part) = parts.next() {
        if part.ends_with(".c") {
            parts.next_if(|next| next.bytes().all(|byte| byte.is_ascii_digit()));
        } else if part.trim_start() == "error" {
            // A number, the library, and the function, which may be empty.
            let is_number =
                |it: &&str| it.len() == 8 && it.bytes().all(|byte| byte.is_ascii_hexdigit());
            match parts.next_if(is_number) {
                Some(_) => {
                    parts.next();
                    parts.next();
                }
                None => kept.push(part),
            }
        } else {
            kept.push(part);
        }
    }
    kept.join(":")
        .replace(":: ", ": ")
        .trim_matches([':', ' '])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_words_of_openssl_are_told_without_its_source() {
        assert_eq!(
            without_places(
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate \
                 verify failed:../ssl/statem/statem_clnt.c:1889:: (self-signed certificate)"
            ),
            "certificate verify failed: (self-signed certificate)"
        );
        assert_eq!(
            without_places(
                "error:0A00010B:SSL routines:ssl3_get_record:wrong version \
                 number:../ssl/record/ssl3_record.c:354:"
            ),
            "wrong version number"
        );
        assert_eq!(
            without_places("error:1:L:f:one:a.c:1:, error:00000002:L::two:b.c:2:").as_str(),
            "error:1:L:f:one; two"
        );
        for plain in ["connection reset by peer", "error: 7", "a:b: c"] {
            assert_eq!(without_places(plain), plain);
        }
    }
}
