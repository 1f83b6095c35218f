//! What a response says: its status, its body, and how long to wait.

use std::future::Future;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, DATE, RETRY_AFTER};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

use super::coding::{decode, is_coded, Wanted};
use super::failures::http_failure;
use super::progress::Progress;
use crate::bayeux::body::Text;
use crate::bayeux::error_text::one_line;
use crate::bayeux::{Body, BodyError, LONG_POLLING};
use crate::error::{ErrorKind, Failure};
use crate::transport::leniencies::{Leniencies, Leniency};

/// What is read of a body that only explains a refusal.
const MAXIMUM_EXPLANATION: usize = 16 * 1024;
const EXPLANATION_LIMIT: Duration = Duration::from_secs(1);
/// What is told of it.
const TOLD: usize = 80;
/// So much of it is kept for that: white space does not count.
const KEPT: usize = 256;

/// What an announced length gets of memory before anything has come; from then
/// on there is at most twice as much as has come.
const MAXIMUM_ADVANCE: usize = 128 * 1024;

/// Reads what messages are in. Only 200 carries messages.
pub fn read<'a>(
    response: Response<Incoming>,
    maximum: usize,
    progress: &'a Progress,
    leniencies: &'a Leniencies,
) -> impl Future<Output = Result<Vec<u8>, Failure>> + 'a {
    let (
        Parts {
            status, headers, ..
        },
        incoming,
    ) = response.into_parts();
    // Boxes for the rare ones: each client has room for this future all the time.
    let carried = match status {
        StatusCode::OK => Ok((incoming, is_coded(&headers).then(|| Box::new(headers)))),
        _ => Err(Box::pin(refused(
            status, headers, incoming, progress, leniencies,
        ))),
    };
    async move {
        let (incoming, coded) = match carried {
            Ok(carried) => carried,
            Err(refused) => return Err(refused.await),
        };
        // A response that broke off is told as a broken connection.
        let told = |failure: Failure| match failure.kind {
            ErrorKind::ConnectionLost => failure,
            _ => failure.with_status(StatusCode::OK.as_u16()),
        };
        let mut body = collect(incoming, maximum, progress).await.map_err(told)?;
        if let Some(headers) = coded {
            let decoding = decode(&headers, body, maximum, Wanted::Whole, leniencies);
            body = Box::pin(decoding).await.map_err(told)?;
        }
        if trim(&mut body) {
            leniencies.took(
                Leniency::BodyTail,
                "NULs behind the JSON of a response were passed over",
            );
        }
        Ok(body)
    }
}

/// What a status says that carries no messages. Whatever goes wrong here, the
/// status is what is told.
async fn refused(
    status: StatusCode,
    headers: HeaderMap,
    incoming: Incoming,
    progress: &Progress,
    leniencies: &Leniencies,
) -> Failure {
    let body = explanation(incoming, progress).await;
    let wanted = Wanted::Beginning;
    let body = decode(&headers, body, MAXIMUM_EXPLANATION, wanted, leniencies).await;
    refusal(status, &headers, body.unwrap_or_default())
}

/// Takes away NULs at the end, and the white space between them: who counts the
/// end of a C string sends them. White space alone is JSON's own.
fn trim(body: &mut Vec<u8>) -> bool {
    let is_tail = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let end = body.iter().rposition(|byte| !is_tail(byte));
    let end = end.map_or(0, |it| it + 1);
    let has_nul = body.get(end..).is_some_and(|it| it.contains(&0));
    if has_nul {
        body.truncate(end);
    }
    has_nul
}

/// The messages of such a response.
pub fn parse(body: impl Into<Text>) -> Result<Body, Failure> {
    let text = body.into();
    let start = beginning(text.text.as_bytes());
    let fail = |kind, text| Failure::new(kind, text).with_status(StatusCode::OK.as_u16());
    let body = Body::read(text).map_err(|error| {
        let kind = match error {
            BodyError::Html(_) => ErrorKind::Html,
            _ => ErrorKind::NotJson,
        };
        fail(kind, error.to_string())
    })?;
    // An empty array is from a server that has nothing to say.
    if body.malformed() > 0 && !holds_messages(&body) {
        let start = shown(&start);
        return Err(fail(
            ErrorKind::Protocol,
            format!("the response holds no Bayeux message; it begins \"{start}\""),
        ));
    }
    Ok(body)
}

fn holds_messages(body: &Body) -> bool {
    body.messages().any(|message| message.channel().is_some())
}

/// So much of a body that its beginning can be told when it has been parsed.
fn beginning(body: &[u8]) -> [u8; KEPT] {
    let mut start = [b' '; KEPT];
    let body = body.trim_ascii_start();
    let length = body.len().min(start.len());
    if let (Some(to), Some(from)) = (start.get_mut(..length), body.get(..length)) {
        to.copy_from_slice(from);
    }
    start
}

/// The beginning of a body on one line.
fn shown(start: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(start), TOLD)
}

/// What comes soon of a body that explains a refusal.
async fn explanation(mut incoming: Incoming, progress: &Progress) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Some(data) = frame.data_ref() {
                progress.came(data.len());
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

async fn collect(
    mut incoming: Incoming,
    maximum: usize,
    progress: &Progress,
) -> Result<Vec<u8>, Failure> {
    let expected = incoming.size_hint().lower();
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    if expected > maximum {
        return Err(too_large(maximum));
    }
    let mut body = Vec::new();
    reserve(&mut body, expected.min(MAXIMUM_ADVANCE), expected)?;
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| http_failure(&error))?;
        if let Some(data) = frame.data_ref() {
            progress.came(data.len());
            if body.len() + data.len() > maximum {
                return Err(too_large(maximum));
            }
            reserve(&mut body, data.len(), expected)?;
            body.extend_from_slice(data);
        }
    }
    Ok(body)
}

/// Makes room for so many more bytes: at least, and at most for as many again as
/// there are, but for no more than `expected` if that is enough. What a server
/// sends must not end the process for want of memory.
pub(super) fn reserve(
    bytes: &mut Vec<u8>,
    additional: usize,
    expected: usize,
) -> Result<(), Failure> {
    if bytes.capacity() - bytes.len() >= additional {
        return Ok(());
    }
    let more = bytes.len().min(expected.saturating_sub(bytes.len()));
    let more = more.max(additional);
    bytes.try_reserve_exact(more).map_err(|_| {
        Failure::new(
            ErrorKind::System,
            format!(
                "there is no memory for the response: {more} bytes more than the {} that it has",
                bytes.len()
            ),
        )
    })
}

pub(super) fn too_large(maximum: usize) -> Failure {
    Failure::new(
        ErrorKind::TooLarge,
        format!("the response is too large: more than {maximum} bytes"),
    )
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

/// What the calendar of the server says, as far as it tells (`Date`, RFC 9110,
/// section 6.6.1): what it dates is dated by that. Otherwise this machine's.
pub(super) fn calendar(headers: &HeaderMap) -> SystemTime {
    let date = headers.get(DATE).and_then(|it| it.to_str().ok());
    let date = date.and_then(|it| httpdate::parse_http_date(it.trim()).ok());
    date.unwrap_or_else(SystemTime::now)
}

/// `Retry-After` in milliseconds: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if is_number(seconds) && is_number(fraction) {
        // Some servers write a fraction; it is rounded up.
        let more = u64::from(fraction.bytes().any(|it| it != b'0'));
        let seconds = seconds.parse::<u64>().unwrap_or(u64::MAX);
        return Some(seconds.saturating_add(more).saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let wait = date.duration_since(now).unwrap_or_default();
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

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

    #[test]
    fn retry_after_in_seconds_and_as_a_date_140() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |value: &str| retry_after(&headers(RETRY_AFTER, value), now);
        assert_eq!(wait("120"), Some(120_000));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10_000));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:47 GMT"), Some(10_000));
        assert_eq!(wait("Sun Nov  6 08:49:47 1994"), Some(10_000));
        assert_eq!(wait(" 007 "), Some(7_000));
        assert_eq!(wait("1.5"), Some(2_000));
        assert_eq!(wait("99999999999999999999999"), Some(u64::MAX));
        for bad in ["soon", "", "-1", "+1", "1.", ".5", "1s", "1, 2"] {
            assert_eq!(wait(bad), None, "{bad}");
        }
        assert_eq!(
            retry_after(&HeaderMap::new(), now + Duration::from_secs(1)),
            None
        );
    }
}
