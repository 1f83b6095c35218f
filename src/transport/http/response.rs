//! Reading a response, and the messages in it.

use std::future::Future;

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

use super::progress::Progress;
use crate::bayeux::body::Text;
use crate::bayeux::Body;
use crate::error::{ErrorKind, Failure};
use crate::transport::coding::{decode, is_coded, reserve, too_large, Wanted};
use crate::transport::failures::http_failure;
use crate::transport::leniencies::{Leniencies, Leniency};
use crate::transport::messages;
use crate::transport::refusal::refused;

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
            status,
            headers,
            incoming,
            |bytes| progress.came(bytes),
            leniencies,
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
    messages::parse(body).map_err(|failure| failure.with_status(StatusCode::OK.as_u16()))
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
