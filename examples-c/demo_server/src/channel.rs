//! Channel names, and the patterns that match them.

pub const META_HANDSHAKE: &str = "/meta/handshake";
pub const META_CONNECT: &str = "/meta/connect";
pub const META_SUBSCRIBE: &str = "/meta/subscribe";
pub const META_UNSUBSCRIBE: &str = "/meta/unsubscribe";
pub const META_DISCONNECT: &str = "/meta/disconnect";

/// Whether `name` has the shape of a channel or of a pattern: segments that
/// are not empty, with `*` or `**` only as the whole of the last one.
pub fn is_valid(name: &str) -> bool {
    let Some(path) = name.strip_prefix('/') else {
        return false;
    };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let wild = segment == "*" || segment == "**";
        if segment.is_empty() || (segment.contains('*') && !(wild && last)) {
            return false;
        }
    }
    true
}

pub fn is_wild(name: &str) -> bool {
    name.ends_with("/*") || name.ends_with("/**")
}

pub fn is_meta(name: &str) -> bool {
    name == "/meta" || name.starts_with("/meta/")
}

/// Messages to a service channel reach the server only.
pub fn is_service(name: &str) -> bool {
    name == "/service" || name.starts_with("/service/")
}

/// The channels that nobody may subscribe or publish to, so that a client can
/// be tested against a refusal.
pub fn is_denied(name: &str) -> bool {
    name == "/denied" || name.starts_with("/denied/")
}

/// Whether `pattern`, a channel or one that ends in `/*` or `/**`, covers the
/// channel `name`. Both are valid; `name` is not wild.
pub fn matches(pattern: &str, name: &str) -> bool {
    if let Some(prefix) = pattern.strip_suffix("**") {
        name.starts_with(prefix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.contains('/'))
    } else {
        pattern == name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape() {
        for good in ["/a", "/a/b", "/*", "/**", "/a/*", "/a/**", "/topic/A?b=c"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a", "/", "//", "/a/", "/a//b", "/*/a", "/a*", "/***"] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        assert!(matches("/a/b", "/a/b"));
        assert!(!matches("/a/b", "/a/bc"));
        assert!(matches("/a/*", "/a/b"));
        assert!(!matches("/a/*", "/a/b/c"));
        assert!(!matches("/a/*", "/a"));
        assert!(matches("/a/**", "/a/b"));
        assert!(matches("/a/**", "/a/b/c"));
        assert!(!matches("/a/**", "/ab/c"));
        assert!(matches("/**", "/a/b/c"));
        assert!(matches("/*", "/a"));
        assert!(!matches("/*", "/a/b"));
    }

    #[test]
    fn kinds() {
        assert!(is_wild("/a/*") && is_wild("/**") && !is_wild("/a"));
        assert!(is_meta("/meta/connect") && !is_meta("/metal"));
        assert!(is_service("/service/echo") && !is_service("/services"));
        assert!(is_denied("/denied") && is_denied("/denied/**") && !is_denied("/deniedx"));
    }
}
