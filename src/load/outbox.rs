//! Lines on their way out: in the order of their places if that is wanted, and never more of them than a bound.
//!
//! Workers [`put`](Outbox::put) lines in, one task lets them [`depart`](Departures::depart). When the outbox is full,
//! whoever puts waits; only the line that all others wait for always goes in, so nobody waits for ever. A reader that
//! pauses therefore stops the workers, and through them their source.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

/// How many bytes of lines may wait, beside one line of each worker: 4 MiB.
const BOUND: usize = 4 * 1024 * 1024;
/// What a short line costs beside its bytes.
const OVERHEAD: usize = 128;
/// How many lines are taken at a time.
const AT_ONCE: usize = 1024;

/// In which order lines depart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By their places, which must have no gaps and begin with 0.
    ByPlace,
    /// As they come.
    AsTheyCome,
}

/// Where lines are put. Cloning is cheap; when all clones are gone, the outbox is complete.
#[derive(Clone, Debug)]
pub struct Outbox {
    order: Order,
    lines: mpsc::UnboundedSender<(u64, Vec<u8>)>,
    state: watch::Sender<State>,
}

/// Where lines come out.
#[derive(Debug)]
pub struct Departures {
    order: Order,
    lines: mpsc::UnboundedReceiver<(u64, Vec<u8>)>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were put in and have not departed.
    held: usize,
    /// The place that departs next.
    next: u64,
}

/// Makes an outbox.
pub fn outbox(order: Order) -> (Outbox, Departures) {
    // Not bounded by itself: `held` is the bound, in bytes.
    let (send, receive) = mpsc::unbounded_channel();
    let state = watch::Sender::new(State::default());
    (Outbox { order, lines: send, state: state.clone() }, Departures { order, lines: receive, state })
}

impl Outbox {
    /// Puts a line in, when there is room.
    pub async fn put(&self, place: u64, line: Vec<u8>) {
        let may_pass = |state: &State| state.held < BOUND || (self.order == Order::ByPlace && state.next == place);
        let full = !may_pass(&self.state.borrow());
        if full {
            // Cannot fail: this is one of those who tell.
            let _ = self.state.subscribe().wait_for(may_pass).await;
        }
        self.state.send_if_modified(|state| {
            state.held += cost(&line);
            // Nobody waits for it to become more.
            false
        });
        // Fails only if there are no departures any more: whoever took them away ends the workers too.
        let _ = self.lines.send((place, line));
    }
}

impl Departures {
    /// Lets all lines depart through `write`, as many as there are at a time, until the outbox is complete. An error of
    /// `write` ends it.
    pub async fn depart<E>(mut self, mut write: impl AsyncFnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (mut arrived, mut waiting) = (Vec::new(), BTreeMap::new());
        let (mut next, mut departing) = (0, Vec::new());
        while self.lines.recv_many(&mut arrived, AT_ONCE).await > 0 {
            let mut gone = 0;
            for (place, line) in arrived.drain(..) {
                if self.order == Order::ByPlace {
                    waiting.insert(place, line);
                    continue;
                }
                gone += cost(&line);
                departing.extend_from_slice(&line);
            }
            while let Some(line) = waiting.remove(&next) {
                next += 1;
                gone += cost(&line);
                departing.extend_from_slice(&line);
            }
            if departing.is_empty() {
                continue;
            }
            write(&departing).await?;
            departing.clear();
            departing.shrink_to(BOUND);
            self.state.send_modify(|state| {
                state.held -= gone;
                state.next = next;
            });
        }
        Ok(())
    }
}

fn cost(line: &[u8]) -> usize {
    line.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn line(number: u64) -> Vec<u8> {
        format!("{number}\n").into_bytes()
    }

    async fn departed(departures: Departures) -> String {
        let mut text = String::new();
        let write = async |bytes: &[u8]| {
            text.push_str(std::str::from_utf8(bytes).unwrap());
            Ok::<_, Infallible>(())
        };
        departures.depart(write).await.unwrap();
        text
    }

    #[tokio::test]
    async fn lines_depart_by_their_places_or_as_they_come() {
        for (order, expected) in [(Order::ByPlace, "0\n1\n2\n"), (Order::AsTheyCome, "2\n0\n1\n")] {
            let (outbox, departures) = outbox(order);
            for place in [2, 0, 1] {
                outbox.put(place, line(place)).await;
            }
            drop(outbox);
            assert_eq!(departed(departures).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_outbox_takes_the_line_that_all_wait_for_and_no_other() {
        let (outbox, departures) = outbox(Order::ByPlace);
        outbox.put(1, vec![b'x'; BOUND]).await;
        let blocked = timeout(Duration::from_secs(1), outbox.put(2, line(2))).await;
        assert!(blocked.is_err());
        timeout(Duration::from_secs(1), outbox.put(0, line(0))).await.expect("the first goes in");
        let blocked = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.put(2, line(2)).await }
        });
        drop(outbox);
        let text = departed(departures).await;
        blocked.await.unwrap();
        assert!(text.starts_with("0\nx") && text.ends_with("x2\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_stops_those_who_put() {
        let (outbox, departures) = outbox(Order::AsTheyCome);
        let putting = tokio::spawn(async move {
            let mut place = 0;
            while timeout(Duration::from_secs(1), outbox.put(place, vec![b'x'; 1024])).await.is_ok() {
                place += 1;
            }
            place
        });
        let stuck = departures.depart(async |_: &[u8]| std::future::pending::<Result<(), Infallible>>().await);
        let put = tokio::select! {
            put = putting => put.unwrap(),
            _ = stuck => unreachable!("nothing departs"),
        };
        let most = (BOUND / (1024 + OVERHEAD) + 1) as u64;
        assert_eq!(put, most);
    }

    #[tokio::test]
    async fn an_error_of_the_reader_ends_it() {
        let (outbox, departures) = outbox(Order::AsTheyCome);
        outbox.put(0, line(0)).await;
        assert_eq!(departures.depart(async |_: &[u8]| Err("gone")).await, Err("gone"));
    }
}
