//! What has come from a server and is not handled yet: texts that are read by
//! another thread because they are large, and what waits behind them.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use crate::aside::{Aside, Work};
use crate::bayeux::body::{Text, LARGE};
use crate::bayeux::Body;
use crate::error::Failure;
use crate::session::{RequestId, SocketId};
use crate::transport::{http, messages};

/// Where something belongs that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// To a request, and to the response to it.
    Request(RequestId),
    /// To what comes over a socket.
    Socket(SocketId),
}

impl Origin {
    /// The messages of a text.
    pub fn parse(self, text: impl Into<Text>) -> Result<Body, Failure> {
        match self {
            Self::Request(_) => http::parse(text),
            Self::Socket(_) => messages::parse(text),
        }
    }
}

type Read = Result<Body, Failure>;

/// In the order in which they came.
#[derive(Default)]
pub(super) struct Arrivals(VecDeque<(Origin, Work<Read>)>);

impl Arrivals {
    /// Takes a text of so many bytes. Gives back what is to be handled at once: a
    /// small one, unless another is before it.
    pub fn read<T: Into<Text> + Send + 'static>(
        &mut self,
        aside: &Arc<Aside>,
        origin: Origin,
        bytes: usize,
        text: T,
    ) -> Option<Read> {
        if bytes > LARGE {
            let work = aside.start(move || origin.parse(text));
            self.0.push_back((origin, work));
            return None;
        }
        self.line_up(origin, origin.parse(text))
    }

    /// The same for what is known to have failed.
    pub fn line_up(&mut self, origin: Origin, read: Read) -> Option<Read> {
        if self.0.is_empty() {
            return Some(read);
        }
        self.0.push_back((origin, Work::Done(Some(read))));
        None
    }

    pub fn forget(&mut self, gone: Origin) {
        self.0.retain(|(origin, _)| *origin != gone);
    }

    /// The next one that is read.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Origin, Read)> {
        let Some((origin, work)) = self.0.front_mut() else {
            return Poll::Pending;
        };
        let origin = *origin;
        let read = ready!(Pin::new(work).poll(context));
        self.0.pop_front();
        Poll::Ready((origin, read))
    }
}
