//! Which address of a name is gone to: the one that answers first, as in RFC 8305.

use std::future::{poll_fn, Future};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// So long an address is waited for alone; then the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Where addresses are tried one after the other, so many of a name's are.
const FEW: usize = 8;

/// IPv6 and IPv4 by turns, beginning with what the system prefers: when one of
/// them leads nowhere at all, the second attempt gets through.
pub fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let is_ipv6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|it| it.is_ipv6() == is_ipv6);
    let mut others = others.into_iter();
    let mut ordered = Vec::new();
    for address in preferred {
        ordered.push(address);
        ordered.extend(others.next());
    }
    ordered.extend(others);
    ordered
}

/// The same, and no more than some: both kinds are among them.
pub fn few_by_turns(addresses: Vec<IpAddr>) -> impl Iterator<Item = IpAddr> {
    by_turns(addresses).into_iter().take(FEW)
}

/// What the first attempt gives that succeeds, or what the first that failed did;
/// `None` without attempts. The others are dropped.
pub async fn first<T, E, F>(attempts: impl IntoIterator<Item = F>) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = attempts.into_iter().peekable();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut failure = None;
    loop {
        running.extend(attempts.next().map(Box::pin));
        if running.is_empty() {
            return failure.map(Err);
        }
        let more = attempts.peek().is_some();
        tokio::select! {
            ended = any(&mut running) => match ended {
                Ok(done) => return Some(Ok(done)),
                Err(error) => { failure.get_or_insert(error); }
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

/// What one of them gives, which is then gone.
async fn any<T, F: Future<Output = T>>(running: &mut Vec<Pin<Box<F>>>) -> T {
    poll_fn(|context| {
        let ended = running.iter_mut().enumerate().find_map(|(at, attempt)| {
            match attempt.as_mut().poll(context) {
                Poll::Ready(ended) => Some((at, ended)),
                Poll::Pending => None,
            }
        });
        match ended {
            Some((at, ended)) => {
                drop(running.swap_remove(at));
                Poll::Ready(ended)
            }
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(future)
    }

    fn ordered(addresses: &[&str]) -> Vec<String> {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        by_turns(addresses).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn kinds_of_addresses_take_turns() {
        assert_eq!(
            ordered(&["::1", "::2", "::3", "127.0.0.1"]),
            ["::1", "127.0.0.1", "::2", "::3"]
        );
        assert_eq!(
            ordered(&["127.0.0.1", "::1", "::2", "127.0.0.2"]),
            ["127.0.0.1", "::1", "127.0.0.2", "::2"]
        );
        assert_eq!(
            ordered(&["127.0.0.1", "127.0.0.2"]),
            ["127.0.0.1", "127.0.0.2"]
        );
        assert!(ordered(&[]).is_empty());
    }

    #[test]
    fn few_of_many_addresses_are_of_both_kinds() {
        let many = (1..=20).map(|it| IpAddr::from([0, 0, 0, 0, 0, 0, 0, it]));
        let few: Vec<_> = few_by_turns(many.chain([[127, 0, 0, 1].into()]).collect()).collect();
        assert_eq!(few.len(), 8);
        assert!(few[1].is_ipv4(), "{few:?}");
    }

    /// An attempt that is silent, succeeds or fails, and tells that it was begun.
    async fn attempt(
        begun: &RefCell<Vec<u32>>,
        number: u32,
        ends: Option<Result<u32, u32>>,
    ) -> Result<u32, u32> {
        begun.borrow_mut().push(number);
        match ends {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    fn race(attempts: &[Option<Result<u32, u32>>]) -> (Option<Result<u32, u32>>, Vec<u32>) {
        let begun = RefCell::default();
        let attempts = (1..).zip(attempts);
        let ended = run(first(
            attempts.map(|(number, ends)| attempt(&begun, number, *ends)),
        ));
        (ended, begun.into_inner())
    }

    #[test]
    fn case_dead_line_of_some_addresses_is_passed_over() {
        let silent = None;
        assert_eq!(
            race(&[silent, silent, Some(Ok(3)), silent]),
            (Some(Ok(3)), vec![1, 2, 3])
        );
    }

    #[test]
    fn an_address_that_answers_is_gone_to_alone() {
        assert_eq!(race(&[Some(Ok(1)), Some(Ok(2))]), (Some(Ok(1)), vec![1]));
    }

    #[test]
    fn an_address_that_refuses_is_followed_by_the_next_and_the_first_refusal_is_told() {
        assert_eq!(
            race(&[Some(Err(1)), None, Some(Err(3)), Some(Ok(4))]),
            (Some(Ok(4)), vec![1, 2, 3, 4])
        );
        assert_eq!(
            race(&[Some(Err(1)), Some(Err(2))]),
            (Some(Err(1)), vec![1, 2])
        );
        assert_eq!(race(&[]), (None, vec![]));
    }
}
