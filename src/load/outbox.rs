//! Lines on their way out: in the order of their places if that is wanted, and never more of them than a bound.
//!
//! A worker has a [`Place`] for its line, [`put`](Place::put)s it in, and one task lets the lines
//! [`depart`](Departures::depart). When the outbox is full, whoever puts waits; only the line that all others wait for
//! always goes in, so nobody waits for ever. A reader that pauses therefore stops the workers, and through them their
//! source. A worker that is stopped leaves nobody waiting: its line goes in at once, or its place stays empty.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};

/// How many bytes may wait, beside one line of each worker: 4 MiB. What is [reserved](Place::reserve) counts as waiting.
const BOUND: usize = 4 * 1024 * 1024;
/// What a short line costs beside its bytes.
const OVERHEAD: usize = 128;
/// How many lines are taken at a time.
const AT_ONCE: usize = 1024;
/// Lines as long as this are written by themselves: a copy would cost more than a call.
const LONG: usize = 64 * 1024;

/// In which order lines depart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By their places, which must have no gaps and begin with 0.
    ByPlace,
    /// As they come.
    AsTheyCome,
}

/// Where lines are put. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Outbox {
    order: Order,
    /// `None` is the end.
    lines: mpsc::UnboundedSender<Option<(u64, Vec<u8>)>>,
    state: watch::Sender<State>,
}

/// A line's place among all others. Dropped, it goes in at once: with its line, or empty.
#[derive(Debug)]
pub struct Place {
    outbox: Outbox,
    number: u64,
    /// How many bytes are held for it.
    reserved: usize,
    line: Vec<u8>,
}

/// Where lines come out.
#[derive(Debug)]
pub struct Departures {
    order: Order,
    lines: mpsc::UnboundedReceiver<Option<(u64, Vec<u8>)>>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were put in and have not departed, and those that are reserved.
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
    /// Returns the place of this number.
    pub fn place(&self, number: u64) -> Place {
        Place { outbox: self.clone(), number, reserved: 0, line: Vec::new() }
    }

    /// Says that nothing more comes. Places that are still there must not be put afterwards.
    pub fn complete(&self) {
        // Fails only if nobody is there to hear it.
        let _ = self.lines.send(None);
    }
}

impl Place {
    /// Waits until there is room, and takes `bytes` of it for what will become the line. What was reserved before is given
    /// back first, so nobody waits for room while keeping others from it.
    pub async fn reserve(&mut self, bytes: usize) {
        self.give_back();
        let mut taken = false;
        loop {
            self.outbox.state.send_if_modified(|state| {
                taken = self.may_pass(state);
                state.held += if taken { bytes } else { 0 };
                // Nobody waits for it to become more.
                false
            });
            if taken {
                self.reserved = bytes;
                return;
            }
            self.has_room().await;
        }
    }

    /// Puts a line in: at once if anything was reserved for it, else when there is room.
    pub async fn put(mut self, line: Vec<u8>) {
        self.line = line;
        if self.reserved == 0 && !self.may_pass(&self.outbox.state.borrow()) {
            self.has_room().await;
        }
        // It goes in as it is dropped, here or while it waits.
    }

    fn may_pass(&self, state: &State) -> bool {
        state.held < BOUND || (self.outbox.order == Order::ByPlace && state.next == self.number)
    }

    async fn has_room(&self) {
        // Cannot fail: this is one of those who tell.
        drop(self.outbox.state.subscribe().wait_for(|state| self.may_pass(state)).await);
    }

    fn give_back(&mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        if reserved > 0 {
            self.outbox.state.send_modify(|state| state.held -= reserved);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.line);
        let cost = cost(&line);
        self.outbox.state.send_if_modified(|state| {
            state.held = state.held - self.reserved + cost;
            cost < self.reserved
        });
        // Fails only if there are no departures any more: whoever took them away ends the workers too.
        let _ = self.outbox.lines.send(Some((self.number, line)));
    }
}

impl Departures {
    /// Lets all lines depart through `write`, as many as there are at a time, until the outbox is complete or gone. An error
    /// of `write` ends it. It may block its thread, for as long as whoever reads the lines pauses.
    pub async fn depart<E>(mut self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (mut arrived, mut waiting, mut ready) = (Vec::new(), BTreeMap::new(), Vec::new());
        let (mut next, mut departing, mut complete) = (0, Vec::new(), false);
        while !complete && self.lines.recv_many(&mut arrived, AT_ONCE).await > 0 {
            for arrival in arrived.drain(..) {
                match arrival {
                    Some((place, line)) if self.order == Order::ByPlace => drop(waiting.insert(place, line)),
                    Some((_, line)) => ready.push(line),
                    None => complete = true,
                }
            }
            while let Some(line) = waiting.remove(&next) {
                next += 1;
                ready.push(line);
            }
            if ready.is_empty() {
                continue;
            }
            let mut gone = 0;
            for line in ready.drain(..) {
                gone += cost(&line);
                if line.len() < LONG {
                    departing.extend_from_slice(&line);
                    continue;
                }
                if !departing.is_empty() {
                    write(&departing)?;
                    departing.clear();
                }
                write(&line)?;
            }
            if !departing.is_empty() {
                write(&departing)?;
                departing.clear();
            }
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
        let write = |bytes: &[u8]| {
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
                outbox.place(place).put(line(place)).await;
            }
            drop(outbox);
            assert_eq!(departed(departures).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_outbox_takes_the_line_that_all_wait_for_and_no_other() {
        let (outbox, departures) = outbox(Order::ByPlace);
        outbox.place(1).put(vec![b'x'; BOUND]).await;
        let blocked = timeout(Duration::from_secs(1), outbox.place(2).put(line(2))).await;
        assert!(blocked.is_err());
        timeout(Duration::from_secs(1), outbox.place(0).put(line(0))).await.expect("the first goes in");
        let blocked = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.place(2).put(line(2)).await }
        });
        drop(outbox);
        let text = departed(departures).await;
        blocked.await.unwrap();
        assert!(text.starts_with("0\nx") && text.ends_with("x2\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_pauses_stops_those_who_put() {
        // Nothing departs.
        let (outbox, _departures) = outbox(Order::AsTheyCome);
        let putting = tokio::spawn(async move {
            let mut place = 0;
            while timeout(Duration::from_secs(1), outbox.place(place).put(vec![b'x'; 1024])).await.is_ok() {
                place += 1;
            }
            place
        });
        let put = putting.await.unwrap();
        let most = (BOUND / (1024 + OVERHEAD) + 1) as u64;
        assert_eq!(put, most);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_stopped_leaves_nobody_waiting() {
        let (outbox, departures) = outbox(Order::ByPlace);
        let given_up = outbox.place(0);
        outbox.place(1).put(vec![b'x'; BOUND]).await;
        // Stopped while it waits for room: its line goes in all the same.
        let stopped = timeout(Duration::from_secs(1), outbox.place(2).put(line(2))).await;
        assert!(stopped.is_err());
        drop(given_up);
        outbox.complete();
        let text = departed(departures).await;
        assert!(text.starts_with('x') && text.ends_with("x2\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_reserved_counts_until_it_is_there_or_given_up() {
        for order in [Order::ByPlace, Order::AsTheyCome] {
            let (outbox, departures) = outbox(order);
            let (mut large, mut other) = (outbox.place(1), outbox.place(2));
            large.reserve(2 * BOUND).await;
            let blocked = timeout(Duration::from_secs(1), other.reserve(1)).await;
            assert!(blocked.is_err());
            let mut first = outbox.place(0);
            let may_pass = timeout(Duration::from_secs(1), first.reserve(BOUND)).await.is_ok();
            assert_eq!(may_pass, order == Order::ByPlace, "nobody can wait for the first but in order");
            // Much shorter than what was reserved, and that without waiting.
            timeout(Duration::from_secs(1), large.put(line(1))).await.expect("there was room for it");
            drop(first);
            timeout(Duration::from_secs(1), other.reserve(1)).await.expect("the rest was given back");
            drop(other);
            outbox.complete();
            assert_eq!(departed(departures).await, "1\n");
        }
    }

    #[tokio::test]
    async fn an_error_of_the_reader_ends_it() {
        let (outbox, departures) = outbox(Order::AsTheyCome);
        outbox.place(0).put(line(0)).await;
        assert_eq!(departures.depart(|_: &[u8]| Err("gone")).await, Err("gone"));
    }
}
