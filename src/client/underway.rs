//! A request under way: the future that sends it, and how far that has come.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::clock;
use crate::error::Failure;
use crate::runtime::lock;
use crate::session::{Endpoint, Millis, RequestId, Server, SocketId};
use crate::transport::http::Progress;

pub(super) type Sending = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

pub(super) struct Underway {
    pub id: RequestId,
    pub server: Server,
    pub endpoint: Endpoint,
    pub sent: Millis,
    /// `None` while the host's code has it.
    pub sending: Option<Sending>,
    pub course: Arc<Course>,
    /// It will be a frame of this socket, of so many bytes; only as long as the
    /// host's code has it.
    pub frame: Option<(SocketId, usize)>,
}

/// What is known of a request while its future is on its way.
pub(super) struct Course {
    /// How far its response has come.
    pub progress: Progress,
    attention: Mutex<Attention>,
}

/// Who has to be woken when the future can go on.
enum Attention {
    /// Nobody: it is being polled, or will be, or it has ended. `again`: it was
    /// woken meanwhile.
    Given {
        again: bool,
    },
    Wanted(Waker),
}

impl Course {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            progress: Progress::new(clock::now),
            attention: Mutex::new(Attention::Given { again: false }),
        })
    }
}

/// A future that sends a request wakes itself: hyper wakes who waits for a
/// response, and who waits for the next request, and both are the same future
/// here, which is at work on just that. To the client's task each of these would
/// be one more turn, in which there is nothing to do.
impl Wake for Course {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let given = Attention::Given { again: true };
        let before = std::mem::replace(&mut *lock(&self.attention), given);
        if let Attention::Wanted(task) = before {
            task.wake();
        }
    }
}

impl Underway {
    /// What the request has brought. One that the host's code has brings nothing.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        let Some(sending) = &mut self.sending else {
            return Poll::Pending;
        };
        *lock(&self.course.attention) = Attention::Given { again: false };
        let waker = Waker::from(self.course.clone());
        let polled = sending.as_mut().poll(&mut Context::from_waker(&waker));
        // What is left of a connection when its request has ended is polled, and
        // waited for, by who uses it next.
        if polled.is_pending() {
            let mut attention = lock(&self.course.attention);
            match &mut *attention {
                Attention::Given { again: true } => context.waker().wake_by_ref(),
                attention => *attention = Attention::Wanted(context.waker().clone()),
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Task {
        fn wakes(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn underway(
        sending: impl Future<Output = Result<Vec<u8>, Failure>> + Send + 'static,
    ) -> Underway {
        Underway {
            id: RequestId(1),
            server: Server::Given(0),
            endpoint: Endpoint::Connect,
            sent: 0,
            sending: Some(Box::pin(sending)),
            course: Course::new(),
            frame: None,
        }
    }

    type Kept = Arc<Mutex<Option<Waker>>>;

    /// Keeps the waker, wakes itself in the turns that are named, and ends in the
    /// fourth one.
    fn four_turns(kept: &Kept, wakes_itself: &'static [usize]) -> Underway {
        let kept = kept.clone();
        let mut turn = 0;
        underway(poll_fn(move |context| {
            turn += 1;
            *lock(&kept) = Some(context.waker().clone());
            if wakes_itself.contains(&turn) {
                context.waker().wake_by_ref();
            }
            match turn {
                4 => Poll::Ready(Ok(Vec::new())),
                _ => Poll::Pending,
            }
        }))
    }

    #[test]
    fn a_request_that_wakes_itself_on_its_last_way_costs_no_turn() {
        let (task, kept) = (Arc::new(Task::default()), Kept::default());
        let waker = Waker::from(task.clone());
        let mut context = Context::from_waker(&waker);
        let mut request = four_turns(&kept, &[2, 4]);
        let wake = || lock(&kept).clone().unwrap().wake();

        assert!(request.poll(&mut context).is_pending());
        assert_eq!(task.wakes(), 0);
        // From elsewhere: once, however often.
        wake();
        wake();
        assert_eq!(task.wakes(), 1);
        // It may have meant to be polled again.
        assert!(request.poll(&mut context).is_pending());
        assert_eq!(task.wakes(), 2);
        wake();
        assert_eq!(task.wakes(), 2);
        assert!(request.poll(&mut context).is_pending());
        assert_eq!(task.wakes(), 2);
        wake();
        assert_eq!(task.wakes(), 3);
        assert!(request.poll(&mut context).is_ready());
        // It has ended; what it leaves wakes nobody.
        wake();
        assert_eq!(task.wakes(), 3);
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
        let kept = Kept::default();
        let mut request = four_turns(&kept, &[]);
        for task in &tasks {
            let waker = Waker::from(task.clone());
            let mut context = Context::from_waker(&waker);
            assert!(request.poll(&mut context).is_pending());
        }
        lock(&kept).clone().unwrap().wake();
        assert_eq!(tasks.map(|it| it.wakes()), [0, 1]);
    }

    #[test]
    fn one_with_the_hosts_code_brings_nothing() {
        let mut request = underway(async { Ok(Vec::new()) });
        request.sending = None;
        let mut context = Context::from_waker(Waker::noop());
        assert!(request.poll(&mut context).is_pending());
    }

    #[test]
    fn no_wake_is_lost_whenever_another_thread_gives_it() {
        const TURNS: usize = 20_000;
        let (give, take) = std::sync::mpsc::channel::<Waker>();
        let waking = thread::spawn(move || take.into_iter().for_each(Waker::wake));
        let mut turn = 0;
        let mut request = underway(poll_fn(move |context| {
            turn += 1;
            // It may be woken before it is pending, and after.
            let _ = give.send(context.waker().clone());
            match turn {
                TURNS => Poll::Ready(Ok(Vec::new())),
                _ => Poll::Pending,
            }
        }));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let ended = runtime.block_on(poll_fn(|context| request.poll(context)));
        assert!(ended.is_ok());
        drop(request);
        waking.join().unwrap();
    }
}
