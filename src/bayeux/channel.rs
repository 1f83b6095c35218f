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
    let Some(path) = topic(channel).strip_prefix('/') else {
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

/// The channel without its `?query`, which filters what comes on it: it may hold
/// whatever the server understands, `/topic/A?Url='https://example.com/*'`.
pub fn topic(channel: &str) -> &str {
    channel.split_once('?').map_or(channel, |(topic, _)| topic)
}

/// Whether a channel or pattern may be subscribed to.
///
/// The specification limits the characters of a segment; servers do not, so
/// only the structure is checked, and of a query only that it has no control
/// characters.
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
    let topic = topic(channel);
    if topic.ends_with("/*") || topic.ends_with("/**") {
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
    let rest = channel.strip_prefix("/meta");
    rest.is_some_and(|it| it.is_empty() || it.starts_with(['/', '?']))
}

/// Whether `pattern` (a channel, or one that ends in `/*` or `/**`) covers
/// `channel`. A wildcard never covers a meta channel. Queries do not count: a
/// server may tell what it filtered on either channel.
pub fn matches(pattern: &str, channel: &str) -> bool {
    if check(pattern).is_err() || check(channel).is_err() {
        return false;
    }
    let (pattern, channel) = (topic(pattern), topic(channel));
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

    #[test]
    fn case_filters_behind_a_question_mark_anything_goes() {
        for good in [
            "/topic/A?Url='https://example.com/a'",
            "/topic/A?Subject='5 * 3'",
            "/topic/A?a='/'&b='*'&c='?//**/'",
            "/topic/A?",
            "/topic/A?é\u{2028}",
        ] {
            assert_eq!(check_subscription(good), Ok(()), "{good}");
            assert_eq!(check_publish(good), Ok(()), "{good}");
            assert!(is_deliverable(good), "{good}");
            assert_eq!(topic(good), "/topic/A");
            for (pattern, expected) in [
                ("/topic/A", true),
                ("/topic/*", true),
                ("/**", true),
                ("/topic/A?other", true),
                ("/topic/B", false),
                ("/*", false),
            ] {
                assert_eq!(matches(pattern, good), expected, "{pattern} {good}");
            }
            assert!(matches(good, "/topic/A") && matches(good, good));
            assert!(!matches(good, "/topic/A/b") && !matches(good, "/topic"));
        }
        for (bad, why) in [
            ("/topic/A?a=\n", ChannelError::ControlCharacter),
            ("/topic/A?a=\u{85}", ChannelError::ControlCharacter),
            ("/topic//A?a", ChannelError::EmptySegment),
            ("/topic/?a", ChannelError::EmptySegment),
            ("/?a", ChannelError::EmptySegment),
            ("?a", ChannelError::NoLeadingSlash),
            ("/a*?a", ChannelError::MisplacedWildcard),
            ("/meta?a", ChannelError::Meta),
            ("/meta/x?a", ChannelError::Meta),
        ] {
            assert_eq!(check_subscription(bad), Err(why), "{bad:?}");
        }
        assert_eq!(check_publish("/a/*?b"), Err(ChannelError::Wildcard));
        assert!(matches("/a/*?b", "/a/c"));
        assert_eq!(check_service("/service/a?b='/'"), Ok(()));
        assert_eq!(
            check_service("/service/?a"),
            Err(ChannelError::EmptySegment)
        );
        let long = format!("/a?{}", "b".repeat(MAXIMUM_LENGTH));
        assert_eq!(check_subscription(&long), Err(ChannelError::TooLong));
    }

    #[test]
    fn one_invalid_argument_matches_nothing_not_even_itself() {
        for bad in ["a", "", "/", "/a//b", "/a/", "/a\n", "/a/*/b", "/a*"] {
            for good in ["/a", "/**", "/*"] {
                assert!(!matches(good, bad), "{good} {bad:?}");
                assert!(!matches(bad, good), "{bad:?} {good}");
            }
            assert!(!matches(bad, bad), "{bad:?}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "so many bytes take too long")]
    fn a_servers_channel_may_hold_what_c_can_carry() {
        for good in ["/a b", "/ ", "/a/é", "/a//b", "/a\u{85}"] {
            assert!(is_deliverable(good), "{good:?}");
        }
        for bad in ["", "a", " /a", "/a\u{1f}", "/a\0", "/a\u{7f}", "/\t"] {
            assert!(!is_deliverable(bad), "{bad:?}");
        }
        let long = |length| format!("/{}", "a".repeat(length - 1));
        assert!(is_deliverable(&long(MAXIMUM_LENGTH)));
        assert!(!is_deliverable(&long(MAXIMUM_LENGTH + 1)));
    }

    #[test]
    fn only_meta_channels_are_meta() {
        for (channel, meta) in [
            ("/meta", true),
            ("/meta/", true),
            ("/meta/connect", true),
            ("/meta?a", true),
            ("/metal", false),
            ("/a/meta", false),
            ("meta/x", false),
        ] {
            assert_eq!(is_meta(channel), meta, "{channel}");
        }
    }
}
