//! What a response says: its status, its body, and how long to wait.

use std::io::Read;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, CONTENT_ENCODING, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::http_failure;
use crate::bayeux::body::Text;
use crate::bayeux::error_text::one_line;
use crate::bayeux::{Body, BodyError};
use crate::error::{ErrorKind, Failure};
use crate::transport::leniencies::{Leniencies, Leniency};

/// What is read of a body that only explains a refusal.
const MAXIMUM_EXPLANATION: usize = 16 * 1024;
const EXPLANATION_LIMIT: Duration = Duration::from_secs(1);

/// Reads what messages are in. Only 200 carries messages.
pub async fn read(
    response: Response<Incoming>,
    maximum: usize,
    leniencies: &Leniencies,
) -> Result<Vec<u8>, Failure> {
    let status = response.status();
    let (parts, incoming) = response.into_parts();
    if status != StatusCode::OK {
        // Whatever goes wrong here, the status is what is told.
        let body = explanation(incoming).await;
        let body = decode(&parts.headers, body, MAXIMUM_EXPLANATION).unwrap_or_default();
        return Err(refusal(status, &parts.headers, body));
    }
    // A response that broke off is told as a broken connection.
    let told = |failure: Failure| match failure.kind {
        ErrorKind::ConnectionLost => failure,
        _ => failure.with_status(status.as_u16()),
    };
    let body = collect(incoming, maximum).await.map_err(told)?;
    let mut body = decode(&parts.headers, body, maximum).map_err(told)?;
    if trim(&mut body) {
        leniencies.took(
            Leniency::BodyTail,
            "NULs behind the JSON of a response were passed over",
        );
    }
    Ok(body)
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
    Body::read(body.into()).map_err(|error| {
        let kind = match error {
            BodyError::Html(_) => ErrorKind::Html,
            _ => ErrorKind::NotJson,
        };
        Failure::new(kind, error.to_string()).with_status(StatusCode::OK.as_u16())
    })
}

/// What comes soon of a body that explains a refusal.
async fn explanation(mut incoming: Incoming) -> Vec<u8> {
    let mut body = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            if let Some(data) = frame.data_ref() {
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

async fn collect(mut incoming: Incoming, maximum: usize) -> Result<Vec<u8>, Failure> {
    let expected = incoming.size_hint().lower();
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    if expected > maximum {
        return Err(too_large(maximum));
    }
    let mut body = Vec::with_capacity(expected);
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| http_failure(&error))?;
        if let Some(data) = frame.data_ref() {
            if body.len() + data.len() > maximum {
                return Err(too_large(maximum));
            }
            body.extend_from_slice(data);
        }
    }
    Ok(body)
}

fn too_large(maximum: usize) -> Failure {
    Failure::new(
        ErrorKind::TooLarge,
        format!("the response is too large: more than {maximum} bytes"),
    )
}

/// Undoes the content coding. The limit holds for what comes out, so that a
/// small body cannot become a huge one.
fn decode(headers: &HeaderMap, body: Vec<u8>, maximum: usize) -> Result<Vec<u8>, Failure> {
    let Some(coding) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    let coding = coding.to_str().unwrap_or("?").trim();
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    if !coding.eq_ignore_ascii_case("gzip") && !coding.eq_ignore_ascii_case("x-gzip") {
        return Err(Failure::new(
            ErrorKind::Protocol,
            format!(
                "the response has the content coding {}, which was not asked for",
                one_line(coding, 40)
            ),
        ));
    }
    let mut decoded = Vec::new();
    let limit = u64::try_from(maximum).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body.as_slice())
        .take(limit)
        .read_to_end(&mut decoded)
        .map_err(|error| {
            Failure::new(
                ErrorKind::Protocol,
                format!("the response's gzip is corrupt: {error}"),
            )
        })?;
    if decoded.len() > maximum {
        return Err(too_large(maximum));
    }
    Ok(decoded)
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: Vec<u8>) -> Failure {
    let reason = status.canonical_reason().unwrap_or("");
    let mut bayeux = None;
    let explanation = match Body::parse(body) {
        Err(BodyError::Html(title)) if !title.is_empty() => format!(" (HTML page \"{title}\")"),
        Err(BodyError::NotJson { start, .. }) => format!(" (\"{start}\")"),
        // Some servers refuse by status and by a message; the message knows why.
        Ok(body) => {
            bayeux = body.messages().find_map(|message| message.error());
            bayeux
                .as_ref()
                .map(|error| format!(" ({})", error.text))
                .unwrap_or_default()
        }
        _ => String::new(),
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
    failure.bayeux = bayeux;
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        failure.retry_after = retry_after(headers, SystemTime::now());
    }
    failure
}

/// `Retry-After` in milliseconds: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let wait = date.duration_since(now).unwrap_or_default();
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use std::io::Write;

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_decoded_within_the_limit_148() {
        let gz = headers(CONTENT_ENCODING, "gzip");
        assert_eq!(decode(&gz, gzip(b"[]"), 10).unwrap(), b"[]");
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 2_000);
        let error = decode(&gz, bomb, 1 << 16).unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        let error = decode(&gz, b"not gzip".to_vec(), 100).unwrap_err();
        assert!(error.text.contains("gzip is corrupt"), "{}", error.text);
        assert!(decode(&headers(CONTENT_ENCODING, "br"), vec![], 10).is_err());
        assert!(decode(&headers(CONTENT_ENCODING, "identity"), vec![], 10).is_ok());
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
        let message = br#"[{"channel":"/meta/connect","error":"403::Unknown client"}]"#.to_vec();
        let failure = refusal(StatusCode::FORBIDDEN, &HeaderMap::new(), message);
        assert_eq!(failure.text, "HTTP 403 Forbidden (403::Unknown client)");
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date_140() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |value: &str| retry_after(&headers(RETRY_AFTER, value), now);
        assert_eq!(wait("120"), Some(120_000));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10_000));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
        assert_eq!(
            retry_after(&HeaderMap::new(), now + Duration::from_secs(1)),
            None
        );
    }
}
