//! Which redirects are followed.

use hyper::header::{HeaderMap, LOCATION};
use hyper::{Method, StatusCode};

use super::endpoints::Target;
use crate::bayeux::error_text::one_line;
use crate::error::{ErrorKind, Failure};

pub const MAXIMUM_REDIRECTS: usize = 5;

/// Where a response sends the request on to: another place of the same server,
/// or the same one by https. What the host gave to be sent to one server, in
/// headers and in the handshake, is sent to no other. Only 307 and 308 keep a POST
/// (RFC 9110, sections 15.4.8 and 15.4.9); 301 and 302 would lose it, and keep a
/// GET only.
pub fn redirection(
    from: &Target,
    status: StatusCode,
    headers: &HeaderMap,
    method: Method,
) -> Result<Option<Box<Target>>, Failure> {
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    // Servers write UTF-8 where only ASCII belongs; the URL gets it encoded.
    let location = headers.get(LOCATION);
    let location = location.map(|it| String::from_utf8_lossy(it.as_bytes()));
    let location = location
        .as_deref()
        .map(str::trim)
        .filter(|it| !it.is_empty());
    let fail = |why: String| {
        let text = format!("HTTP {}: {why}", status.as_u16());
        Err(Failure::new(ErrorKind::Redirect, text).with_status(status.as_u16()))
    };
    let Some(location) = location else {
        return fail("a redirect without a Location".into());
    };
    // A query may hold what is nobody's business.
    let shown = location.split(['?', '#']).next().unwrap_or_default();
    let shown = one_line(shown, 200);
    let keeps_method = match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == Method::GET,
        _ => false,
    };
    if !keeps_method {
        let followed = match method {
            Method::GET => "301, 302, 307 and 308",
            _ => "307 and 308",
        };
        return fail(format!(
            "redirect to {shown}, which does not keep the {method}; only {followed} are followed"
        ));
    }
    let Ok(url) = from.url.join(location) else {
        return fail(format!("redirect to {shown}, which is not a URL"));
    };
    let is_upgrade = from.url.scheme() == "http" && url.scheme() == "https";
    if url.scheme() != from.url.scheme() && !is_upgrade {
        return fail(format!("redirect from https to {}", url.scheme()));
    }
    let is_same_server = url.host() == from.url.host()
        && (is_upgrade || url.port_or_known_default() == from.url.port_or_known_default());
    if !is_same_server {
        return fail(format!("redirect to {shown}, which is another server"));
    }
    match Target::new(url) {
        Ok(target) => Ok(Some(Box::new(target))),
        Err(error) => fail(error.message),
    }
}
