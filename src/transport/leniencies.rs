//! What was taken from a server although it is not as it should be: each kind
//! is counted, and told once with a warning, so that an operator can see it
//! and a log is not filled with it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of what is taken. To add one: here, in `ALL` and in `name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leniency {
    /// A header that cannot be read was passed over, or one was mended.
    Header,
    /// A `Transfer-Encoding` that says nothing was passed over.
    TransferEncoding,
    /// A content coding that nobody asked for; the body was taken as it is.
    ContentEncoding,
    /// What stands behind the end of a gzip was passed over.
    GzipTail,
    /// NULs behind the JSON were passed over.
    BodyTail,
    /// What is no UTF-8 became U+FFFD.
    NotUtf8,
    /// A cookie that cannot be kept was passed over.
    Cookie,
}

const ALL: [Leniency; 7] = [
    Leniency::Header,
    Leniency::TransferEncoding,
    Leniency::ContentEncoding,
    Leniency::GzipTail,
    Leniency::BodyTail,
    Leniency::NotUtf8,
    Leniency::Cookie,
];

impl Leniency {
    /// Its name in the statistics.
    fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::TransferEncoding => "transfer_encoding",
            Self::ContentEncoding => "content_encoding",
            Self::GzipTail => "gzip_tail",
            Self::BodyTail => "body_tail",
            Self::NotUtf8 => "not_utf8",
            Self::Cookie => "cookie",
        }
    }
}

/// Takes out of a text what must not be read anywhere.
type Redact = dyn Fn(&mut String) + Send + Sync;

/// Of one client.
#[derive(Default)]
pub struct Leniencies {
    counts: [AtomicU64; ALL.len()],
    redact: Option<Box<Redact>>,
}

impl Leniencies {
    /// Servers may send back what is secret, and in a name or a path as well.
    pub fn new(redact: impl Fn(&mut String) + Send + Sync + 'static) -> Self {
        Self {
            counts: Default::default(),
            redact: Some(Box::new(redact)),
        }
    }

    /// Something was taken: `what` says it in one line. The first of a kind is
    /// a warning, the later ones are for who looks for them.
    ///
    /// The caller holds no lock of the client's cookies.
    pub fn took(&self, kind: Leniency, what: impl Display) {
        let Some(count) = self.counts.get(kind as usize) else {
            return;
        };
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            let what = self.redacted(what.to_string());
            tracing::warn!(
                target: "cometd::http",
                "{what}; from now on this is told at the level debug, and counted as \
                 \"{}\" in the statistics' leniencies", kind.name()
            );
        } else {
            let what = || self.redacted(what.to_string());
            tracing::debug!(target: "cometd::http", "{}", what());
        }
    }

    /// One of very many was taken: it is only counted.
    pub fn took_another(&self, kind: Leniency) {
        if let Some(count) = self.counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A text for the log, without what must not be read there.
    pub fn redacted(&self, mut text: String) -> String {
        if let Some(redact) = &self.redact {
            redact(&mut text);
        }
        text
    }

    /// How often each kind was taken, without those that never were.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        ALL.into_iter()
            .zip(&self.counts)
            .map(|(kind, count)| (kind.name(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_under_its_name() {
        let leniencies = Leniencies::default();
        assert!(leniencies.counts().is_empty());
        for (index, kind) in ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "the order of ALL");
            leniencies.took(kind, "a test asked for it");
        }
        leniencies.took(Leniency::GzipTail, "a test asked for it");
        let counts = leniencies.counts();
        assert_eq!(counts.len(), ALL.len());
        assert_eq!(counts["gzip_tail"], 2);
        assert_eq!(counts["header"], 1);
    }
}
