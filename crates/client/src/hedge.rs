//! Asking several for the same, one after the other, without waiting for those who say nothing.
//!
//! A node that is frozen accepts connections and answers nobody: whoever waits for it waits as long as a request may take. So the
//! next one is asked when the one before has said nothing for a moment, and the first answer counts.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::sleep;

/// How long one is waited for before the next is asked too. Most answer within milliseconds.
pub(crate) const MOMENT: Duration = Duration::from_millis(500);

/// Asks `candidates` in their order, the next one when one has failed or said nothing for `moment`, and returns the first answer.
/// Whoever is still being asked then is given up.
///
/// # Errors
/// Why each of them did not answer, when none did.
pub(crate) async fn first<C, T, E, F>(
    candidates: Vec<C>,
    moment: Duration,
    mut ask: impl FnMut(C) -> F,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut left = candidates.into_iter();
    let mut asked: Vec<Pin<Box<F>>> = Vec::new();
    let mut errors = Vec::new();
    loop {
        asked.extend(left.next().map(|candidate| Box::pin(ask(candidate))));
        if asked.is_empty() {
            return Err(errors);
        }
        let is_last = left.len() == 0;
        // Neither loses anything when the other wins: who was asked is in `asked`.
        tokio::select! {
            biased;
            outcome = any(&mut asked) => match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => errors.push(error),
            },
            () = sleep(moment), if !is_last => {}
        }
    }
}

/// Waits for the first of these to end, and takes it out.
async fn any<F: Future>(asked: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|context| {
        for at in 0..asked.len() {
            if let Poll::Ready(outcome) = asked[at].as_mut().poll(context) {
                drop(asked.remove(at));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tokio::time::Instant;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// What one does who is asked: after how long, and whether that is an answer.
    type Behaviour = (Duration, bool);

    /// Asks them by their numbers. Returns who answered, or who failed in which order, after how long; and who was asked.
    async fn asks(behaviours: &[Behaviour]) -> (Result<usize, Vec<usize>>, Duration, Vec<usize>) {
        let (begun, asked) = (Instant::now(), Mutex::new(Vec::new()));
        let outcome = first((0..behaviours.len()).collect(), MOMENT, |who: usize| {
            asked.lock().push(who);
            let (after, answers) = behaviours[who];
            async move {
                sleep(after).await;
                if answers { Ok(who) } else { Err(who) }
            }
        });
        let outcome = outcome.await;
        (outcome, begun.elapsed(), asked.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_waited_for_no_longer_than_a_moment() {
        let millis = Duration::from_millis;
        let (slow, soon) = (millis(700), millis(5));
        let cases = [
            (vec![(soon, true), (soon, true)], Ok(0), soon, vec![0]),
            (vec![(TIMEOUT, false), (soon, true)], Ok(1), MOMENT + soon, vec![0, 1]),
            (vec![(TIMEOUT, false), (TIMEOUT, false), (soon, true)], Ok(2), MOMENT * 2 + soon, vec![0, 1, 2]),
            // The slow one answers after all, before the next.
            (vec![(slow, true), (TIMEOUT, true)], Ok(0), slow, vec![0, 1]),
            // Who refuses is no reason to wait.
            (vec![(soon, false), (soon, true)], Ok(1), soon * 2, vec![0, 1]),
            (vec![(TIMEOUT, false), (soon, false)], Err(vec![1, 0]), TIMEOUT, vec![0, 1]),
            (vec![], Err(vec![]), Duration::ZERO, vec![]),
        ];
        for (behaviours, outcome, after, asked) in cases {
            assert_eq!(asks(&behaviours).await, (outcome, after, asked), "{behaviours:?}");
        }
    }
}
