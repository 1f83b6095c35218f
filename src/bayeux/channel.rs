//! Channel names and the patterns that match them (Bayeux specification,
//! section 2.2).

/// The longest channel name that is accepted, from the host or from a server.
pub const MAXIMUM_LENGTH: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("a channel starts with '/'")]
    NoLeadingSlash,
    #[error("a channel has no empty segment")]
    EmptySegment,
    #[error("'*' and '**' stand only alone, as the last segment")]
    MisplacedWildcard,
    #[error("a channel holds no control character")]
    ControlCharacter,
    #[error("a channel is at most {MAXIMUM_LENGTH} bytes long")]
    TooLong,
    #[error("meta channels belong to the protocol")]
    Meta,
    #[error("a call goes to a service channel, /service/…")]
    NotAService,
    #[error("a message is published to one channel, not to a pattern")]
    Wildcard,
}

fn check(channel: &str) -> Result<(), ChannelError> {
    if channel.len() > MAXIMUM_LENGTH {
        return Err(ChannelError::TooLong);
    }
    let Some(path) = channel.strip_prefix('/') else {
        return Err(ChannelError::NoLeadingSlash);
    };
    if channel.chars().any(char::is_control) {
        return Err(ChannelError::ControlCharacter);
    }
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            return Err(ChannelError::EmptySegment);
        }
        if segment.contains('*')
            && (segments.peek().is_some() || (segment != "*" && segment != "**"))
        {
            return Err(ChannelError::MisplacedWildcard);
        }
    }
    Ok(())
}

/// Whether a channel or pattern may be subscribed to.
///
/// The specification limits the characters of a segment; servers do not, and
/// Salesforce uses others (`/topic/A?b=c`), so only the structure is checked.
pub fn check_subscription(channel: &str) -> Result<(), ChannelError> {
    check(channel)?;
    if is_meta(channel) {
        return Err(ChannelError::Meta);
    }
    Ok(())
}

/// Whether a message may be published to a channel.
pub fn check_publish(channel: &str) -> Result<(), ChannelError> {
    check_subscription(channel)?;
    if channel.ends_with("/*") || channel.ends_with("/**") {
        return Err(ChannelError::Wildcard);
    }
    Ok(())
}

/// Whether a channel is one of a service (Bayeux specification, section 2.2.3).
pub fn check_service(channel: &str) -> Result<(), ChannelError> {
    check_publish(channel)?;
    if !channel.starts_with("/service/") {
        return Err(ChannelError::NotAService);
    }
    Ok(())
}

/// Whether a channel that a server sent can be handed to the host: it is
/// bounded and holds nothing that a C string could not carry.
pub fn is_deliverable(channel: &str) -> bool {
    channel.starts_with('/')
        && channel.len() <= MAXIMUM_LENGTH
        && !channel.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
}

pub fn is_meta(channel: &str) -> bool {
    channel == "/meta" || channel.starts_with("/meta/")
}

/// Whether `pattern` (a channel, or one that ends in `/*` or `/**`) covers
/// `channel`. A wildcard never covers a meta channel.
pub fn matches(pattern: &str, channel: &str) -> bool {
    if check(pattern).is_err() || check(channel).is_err() {
        return false;
    }
    if pattern == channel {
        return true;
    }
    if is_meta(channel) && !is_meta(pattern) {
        return false;
    }
    if let Some(prefix) = pattern.strip_suffix("**") {
        return channel.starts_with(prefix);
    }
    if let Some(prefix) = pattern.strip_suffix('*') {
        return channel
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.contains('/'));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_77() {
        for good in [
            "/a",
            "/a/b",
            "/*",
            "/**",
            "/a/*",
            "/a/**",
            "/service/x",
            "/topic/A?b=c",
        ] {
            assert_eq!(check_subscription(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", ChannelError::NoLeadingSlash),
            ("foo", ChannelError::NoLeadingSlash),
            ("/", ChannelError::EmptySegment),
            ("/a//b", ChannelError::EmptySegment),
            ("/a/", ChannelError::EmptySegment),
            ("/a/**/b", ChannelError::MisplacedWildcard),
            ("/a/*/b", ChannelError::MisplacedWildcard),
            ("/a/b*", ChannelError::MisplacedWildcard),
            ("/a/***", ChannelError::MisplacedWildcard),
            ("/a\n", ChannelError::ControlCharacter),
            ("/meta/x", ChannelError::Meta),
            ("/meta/*", ChannelError::Meta),
        ] {
            assert_eq!(check_subscription(bad), Err(why), "{bad:?}");
        }
        let long = format!("/{}", "a".repeat(MAXIMUM_LENGTH));
        assert_eq!(check_subscription(&long), Err(ChannelError::TooLong));
    }

    #[test]
    fn publish_93() {
        assert_eq!(check_publish("/a/b"), Ok(()));
        assert_eq!(check_publish("/a/*"), Err(ChannelError::Wildcard));
        assert_eq!(check_publish("/**"), Err(ChannelError::Wildcard));
        assert_eq!(check_publish("/meta/connect"), Err(ChannelError::Meta));
    }

    #[test]
    fn services() {
        assert_eq!(check_service("/service/a"), Ok(()));
        assert_eq!(check_service("/services"), Err(ChannelError::NotAService));
        assert_eq!(check_service("/service/*"), Err(ChannelError::Wildcard));
        assert_eq!(check_service("/service/"), Err(ChannelError::EmptySegment));
    }

    #[test]
    fn wildcards_69() {
        for (pattern, channel, expected) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/c", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/a/*", "/a", false),
            ("/a/**", "/a/b", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab/c", false),
            ("/*", "/a", true),
            ("/*", "/a/b", false),
            ("/**", "/a/b/c", true),
            ("/**", "/meta/connect", false),
            ("/*", "/meta", false),
            ("a", "a", false),
            ("/a/**/b", "/a/x/b", false),
        ] {
            assert_eq!(matches(pattern, channel), expected, "{pattern} {channel}");
        }
    }
}
