//! What a response says that was refused: its status, the beginning of its page,
//! and how long to wait.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::StatusCode;

use super::coding::{decode, Wanted};
use super::dates::{calendar, retry_after};
use super::leniencies::Leniencies;
use crate::bayeux::error_text::one_line;
use crate::bayeux::{Body, BodyError, LONG_POLLING};
use crate::error::{ErrorKind, Failure};

/// What is read of a body that only explains a refusal.
const MAXIMUM_EXPLANATION: usize = 16 * 1024;
const EXPLANATION_LIMIT: Duration = Duration::from_secs(1);
/// What is told of it.
const TOLD: usize = 80;
/// So much of it is kept for that: white space does not count.
const KEPT: usize = 256;

/// What a status says that carries no messages. Whatever goes wrong here, the
/// status is what is told.
pub async fn refused(
    status: StatusCode,
    headers: HeaderMap,
    incoming: Incoming,
    came: impl FnMut(usize),
    leniencies: &Leniencies,
) -> Failure {
    let body = explanation(incoming, came).await;
    let wanted = Wanted::Beginning;
    let body = decode(&headers, body, MAXIMUM_EXPLANATION, wanted, leniencies).await;
    refusal(status, &headers, body.unwrap_or_default())
}

/// Whether there is anything that could be a Bayeux message.
pub fn holds_messages(body: &Body) -> bool {
    body.messages().any(|message| message.channel().is_some())
}

/// So much of a body that its beginning can be told when it has been parsed.
pub fn beginning(body: &[u8]) -> [u8; KEPT] {
    let mut start = [b' '; KEPT];
    let body = body.trim_ascii_start();
    let length = body.len().min(start.len());
    if let (Some(to), Some(from)) = (start.get_mut(..length), body.get(..length)) {
        to.copy_from_slice(from);
    }
    start
}

/// The beginning of a body on one line.
pub fn shown(start: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(start), TOLD)
}

/// What comes soon of a body that explains a refusal.
async fn explanation(mut incoming: Incoming, mut came: impl FnMut(usize)) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Some(data) = frame.data_ref() {
                came(data.len());
                let room = MAXIMUM_EXPLANATION - body.len();
                body.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
                if body.len() == MAXIMUM_EXPLANATION {
                    break;
                }
            }
        }
    };
    // Cut short, it explains what it can.
    let _ = tokio::time::timeout(EXPLANATION_LIMIT, read).await;
    body
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Failure {
    let reason = status.canonical_reason().unwrap_or("");
    let mut message = None;
    let start = shown(&beginning(&body));
    let explanation = match Body::parse(body) {
        Err(BodyError::Html(title)) if !title.is_empty() => format!(" (HTML page \"{title}\")"),
        // Some servers refuse by status and by a message; the message knows why.
        Ok(body) if holds_messages(&body) => {
            let index = body.messages().position(|it| it.error().is_some());
            let error = index.and_then(|index| body.message(index)?.error());
            message = Some((body, index.unwrap_or(0)));
            error.map_or_else(String::new, |error| format!(" ({})", error.text))
        }
        Err(BodyError::Empty) => String::new(),
        // A page without a title, and JSON: the explanation of something else than Bayeux.
        _ => format!(" (\"{start}\")"),
    };
    let mut failure = Failure::new(
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                ErrorKind::Unauthorized
            }
            _ => ErrorKind::HttpStatus,
        },
        format!("HTTP {} {reason}{explanation}", status.as_u16()),
    );
    failure.http_status = status.as_u16();
    if let Some(message) = message
        .as_ref()
        .and_then(|(body, index)| body.message(*index))
    {
        failure.bayeux = message.error();
        failure.reply_ext = message.ext().filter(|it| *it != "null").map(Into::into);
        failure.reply_error = message.error_json().map(Into::into);
        let channel = message.channel().unwrap_or_default().to_owned();
        let advice = message.advice(LONG_POLLING);
        failure.advice = advice.map(|advice| Box::new((channel, advice)));
    }
    if says_when(status) {
        failure.retry_after = retry_after(headers, calendar(headers));
    }
    failure
}

/// Whether what is refused may be taken later, as the server may say: what curl
/// tries again.
fn says_when(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderValue, DATE, RETRY_AFTER};

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_refusal_is_told_with_its_page_138() {
        let page = b"<html><head><title>Busy</title></head></html>".to_vec();
        let failure = refusal(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), page);
        assert_eq!(
            failure.text,
            "HTTP 503 Service Unavailable (HTML page \"Busy\")"
        );
        assert_eq!(failure.http_status, 503);
        let failure = refusal(StatusCode::UNAUTHORIZED, &HeaderMap::new(), vec![]);
        assert_eq!(failure.kind, ErrorKind::Unauthorized);
        assert_eq!(failure.text, "HTTP 401 Unauthorized");
        let page = b"<html><body>Busy</body></html>".to_vec();
        let failure = refusal(StatusCode::BAD_GATEWAY, &HeaderMap::new(), page);
        assert_eq!(
            failure.text,
            "HTTP 502 Bad Gateway (\"<html><body>Busy</body></html>\")"
        );
        let latin = b"\n\n  zur\xfcck".to_vec();
        let failure = refusal(StatusCode::NOT_FOUND, &HeaderMap::new(), latin);
        assert_eq!(failure.text, "HTTP 404 Not Found (\"zur\u{fffd}ck\")");
        let message = br#"[{"channel":"/meta/connect","error":"403::Unknown client"}]"#.to_vec();
        let failure = refusal(StatusCode::FORBIDDEN, &HeaderMap::new(), message);
        assert_eq!(failure.text, "HTTP 403 Forbidden (403::Unknown client)");
        let message = br#"[{"channel":"/x","data":1},{"channel":"/meta/connect","error":"402::x","ext":{"a":1},"advice":{"reconnect":"handshake"}}]"#;
        let failure = refusal(StatusCode::FORBIDDEN, &HeaderMap::new(), message.to_vec());
        assert_eq!(failure.reply_ext.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(failure.reply_error.as_deref(), Some(r#""402::x""#));
        let advised = failure.advice_on("/meta/connect").unwrap().reconnect;
        assert_eq!(advised, Some(crate::bayeux::Reconnect::Handshake));
        assert!(failure.advice_on("/meta/handshake").is_none());
    }

    #[test]
    fn retry_after_as_a_date_is_by_the_servers_clock_140() {
        // A server that lives in another year than this machine.
        let dated = |date: &str| {
            let mut all = headers(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:47 GMT");
            all.insert(DATE, HeaderValue::from_str(date).unwrap());
            refusal(StatusCode::SERVICE_UNAVAILABLE, &all, vec![]).retry_after
        };
        assert_eq!(dated("Sun, 06 Nov 1994 08:49:37 GMT"), Some(10_000));
        assert_eq!(dated("Sun, 06 Nov 1994 08:49:57 GMT"), Some(0));
        // One that says nothing usable is taken to live in ours.
        assert_eq!(dated("yesterday"), Some(0));
    }
}
