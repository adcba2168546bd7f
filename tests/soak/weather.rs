//! What breaks: the network, call by call, and the server, now and then.

use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::support::{Fault, Server, When};
use super::{ACCESS_TTL, World};

/// Breaks a part of all calls from now on.
pub(super) fn network(world: &World, mut lot: Xoshiro256PlusPlus) {
    let faults = world.tally().faults.clone();
    world.proxy.choose(move |path| {
        let refresh = path == "/refresh";
        let (name, fault) = if refresh && lot.random_bool(HANGS) {
            HANG
        } else if refresh && lot.random_bool(0.3) {
            FAULTS[lot.random_range(0..FAULTS.len())]
        } else if !refresh && lot.random_bool(0.01) {
            FAULTS[lot.random_range(0..FAULTS_OF_REQUESTS)]
        } else {
            return None;
        };
        let name = format!("{}, {name}", if refresh { "refresh" } else { "request" });
        *faults.lock().unwrap().entry(name).or_default() += 1;
        Some(fault())
    });
}

/// Ends the server every now and then, kindly or not, and brings it back at once or after a while.
pub(super) fn server(world: &World, mut lot: Xoshiro256PlusPlus) {
    loop {
        let next = Instant::now() + lot.random_range(SHORTEST_CALM..LONGEST_CALM);
        while Instant::now() < next {
            if world.is_over() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let mut server = world.server();
        let end = if lot.random_bool(0.5) { Server::kill } else { Server::stop };
        end(&mut server);
        if lot.random_bool(0.3) {
            thread::sleep(lot.random_range(Duration::from_secs(1)..LONGEST_ABSENCE));
        }
        server.restart(ACCESS_TTL);
        // Others take the tally first.
        drop(server);
        world.tally().restarts += 1;
    }
}

type Named = (&'static str, fn() -> Fault);

const FAULTS: [Named; 15] = [
    ("delay", || Fault::Delay(Duration::from_millis(100))),
    ("drop before", || Fault::Drop(When::Before)),
    ("drop after", || Fault::Drop(When::After)),
    ("cut body", || Fault::CutBody),
    ("502 before", || Fault::BadGateway(When::Before)),
    ("502 after", || Fault::BadGateway(When::After)),
    ("cut head", || Fault::CutHead),
    ("page before", || Fault::Page(When::Before)),
    ("page after", || Fault::Page(When::After)),
    ("garbage before", || Fault::Garbage(When::Before)),
    ("garbage after", || Fault::Garbage(When::After)),
    ("long length", || Fault::LongLength),
    ("short length", || Fault::ShortLength),
    ("dribble", || Fault::Dribble),
    ("twice", || Fault::Twice),
];
/// So many of them, from the first, break a request that is no refresh as well: the others would pass for its answer.
const FAULTS_OF_REQUESTS: usize = 6;
const HANG: Named = ("hang", || Fault::Hang(When::After));
/// Few: everybody waits ten seconds for it.
const HANGS: f64 = 0.002;
const SHORTEST_CALM: Duration = Duration::from_secs(12);
const LONGEST_CALM: Duration = Duration::from_secs(28);
const LONGEST_ABSENCE: Duration = Duration::from_secs(4);
