//! How messages travel: what handshakes negotiate (Bayeux specification,
//! sections 4.1 and 6.1).

/// A connection type that this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionType {
    LongPolling,
    WebSocket,
}

impl ConnectionType {
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::LongPolling, Self::WebSocket];
        all.into_iter().find(|it| it.name() == name)
    }

    /// What the protocol calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LongPolling => super::LONG_POLLING,
            Self::WebSocket => super::WEBSOCKET,
        }
    }
}
