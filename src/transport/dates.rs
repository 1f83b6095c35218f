//! When a server says that something is: `Date` and `Retry-After`.

use std::time::SystemTime;

use hyper::header::{HeaderMap, DATE, RETRY_AFTER};

/// What the calendar of the server says, as far as it tells (`Date`, RFC 9110,
/// section 6.6.1): what it dates is dated by that. Otherwise this machine's.
pub fn calendar(headers: &HeaderMap) -> SystemTime {
    let date = headers.get(DATE).and_then(|it| it.to_str().ok());
    let date = date.and_then(|it| httpdate::parse_http_date(it.trim()).ok());
    date.unwrap_or_else(SystemTime::now)
}

/// `Retry-After` in milliseconds: seconds, or a date (RFC 9110, section 10.2.3).
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
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
    use std::time::Duration;

    use hyper::header::HeaderValue;

    fn headers(name: hyper::header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
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
