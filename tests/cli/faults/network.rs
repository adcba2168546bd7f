//! A network that breaks between the real client and the real server, at a refresh.
//!
//! Whatever breaks, nobody has to log in again: the session is the same afterwards, the server has rotated it once
//! however often it was asked, and took nothing for a theft.

use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::support::{Cli, Fault, Point, Proxy, Server, When, eventually};

/// The calls that are broken: one alone, and many that wait for one refresh.
pub(super) const GET: &[&str] = &["get", "/protected"];
pub(super) const BURST: &[&str] = &["burst", "-n", "50"];
/// How often one refresh is tried.
const TRIES: usize = 3;

/// A logged-in user behind a proxy, whose token is at its end.
pub(super) struct Way {
    pub(super) proxy: Proxy,
    pub(super) cli: Cli,
    before: Value,
}

impl Way {
    pub(super) fn to(server: &Server) -> Self {
        let proxy = Proxy::to(&server.url);
        let cli = Cli::new(&proxy.url);
        cli.login();
        cli.let_pass(SignedDuration::from_mins(16));
        let before = cli.stored();
        Self { proxy, cli, before }
    }

    /// The network is mended: the very next call succeeds, in the same session.
    #[track_caller]
    pub(super) fn heals(&self) {
        self.proxy.break_refreshes([]);
        self.cli.run(GET).expect(0).silent();
        self.has_rotated(1);
    }

    #[track_caller]
    fn has_rotated(&self, times: u64) {
        let (before, after) = (&self.before, self.cli.stored());
        assert_eq!(after["session"], before["session"]);
        assert_eq!(generation(&after), generation(before) + times, "however many calls");
    }
}

fn generation(stored: &Value) -> u64 {
    stored["generation"].as_u64().unwrap()
}

/// The server has refused nobody, and taken nobody for a thief.
#[track_caller]
pub(super) fn assert_trust(server: &Server) {
    assert_eq!((server.reuses(), server.refused_refreshes()), (0, 0));
}

/// Breaks one refresh. The call succeeds all the same, after so many tries, of which the server has heard of so many.
fn one_costs_nothing(fault: impl Fn() -> Fault + Sync, tries: usize, heard: usize) {
    side_by_side([GET, BURST], |arguments| {
        let server = Server::start();
        let way = Way::to(&server);
        way.proxy.break_refreshes([fault()]);
        way.cli.run(arguments).expect(0).silent();
        assert_eq!((way.proxy.refreshes(), server.refreshes()), (tries, heard), "{arguments:?}");
        way.heals();
        assert_eq!(way.proxy.refreshes(), tries, "nobody refreshes again");
        assert_trust(&server);
    });
}

/// Most of the time here is spent in pauses, so nobody waits for anybody else's.
pub(super) fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    thread::scope(|scope| cases.into_iter().for_each(|case| drop(scope.spawn(move || check(case)))));
}

#[test]
fn a_slow_refresh_is_waited_for() {
    one_costs_nothing(|| Fault::Delay(Duration::from_millis(200)), 1, 1);
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_read() {
    one_costs_nothing(|| Fault::Dribble, 1, 1);
}

#[test]
fn a_refresh_that_arrives_twice_is_one_refresh() {
    one_costs_nothing(|| Fault::Twice, 1, 2);
}

#[test]
fn a_connection_that_is_closed_before_the_server_heard_of_the_refresh() {
    one_costs_nothing(|| Fault::Drop(When::Before), 2, 1);
}

#[test]
fn a_connection_that_is_closed_after_the_server_has_rotated() {
    one_costs_nothing(|| Fault::Drop(When::After), 2, 2);
}

#[test]
fn an_answer_that_is_cut_in_its_head() {
    one_costs_nothing(|| Fault::CutHead, 2, 2);
}

#[test]
fn an_answer_that_is_cut_in_its_body() {
    one_costs_nothing(|| Fault::CutBody, 2, 2);
}

#[test]
fn an_answer_that_announces_more_than_comes() {
    one_costs_nothing(|| Fault::LongLength, 2, 2);
}

#[test]
fn an_answer_that_announces_less_than_comes() {
    one_costs_nothing(|| Fault::ShortLength, 2, 2);
}

#[test]
fn a_gateway_that_loses_its_server() {
    one_costs_nothing(|| Fault::BadGateway(When::Before), 2, 1);
    one_costs_nothing(|| Fault::BadGateway(When::After), 2, 2);
}

#[test]
fn a_page_in_place_of_the_answer() {
    one_costs_nothing(|| Fault::Page(When::Before), 2, 1);
    one_costs_nothing(|| Fault::Page(When::After), 2, 2);
}

#[test]
fn garbage_in_place_of_the_answer() {
    one_costs_nothing(|| Fault::Garbage(When::Before), 2, 1);
    one_costs_nothing(|| Fault::Garbage(When::After), 2, 2);
}

#[test]
fn a_refresh_whose_every_try_breaks_costs_one_call() {
    let server = Server::start();
    let calls = FAULTS.into_iter().flat_map(|fault| [(fault, GET), (fault, BURST)]);
    side_by_side(calls, |((fault, _), arguments)| {
        let way = Way::to(&server);
        way.proxy.break_refreshes((0..TRIES).map(|_| fault()));
        let failed = way.cli.run(arguments).expect(6);
        assert!(failed.stderr.contains("hint: the session stands; try again"), "{}", failed.stderr);
        assert_eq!(way.proxy.refreshes(), TRIES, "{:?} at {arguments:?}", fault());
        // A failure is remembered for a second, by a real clock: until then the same error comes without a call.
        eventually("the failure is forgotten", || way.cli.run(GET).code == Some(0));
        way.heals();
        assert_eq!(way.proxy.refreshes(), TRIES + 1);
    });
    let heard: usize = FAULTS.into_iter().map(|(_, when)| if when == When::After { TRIES + 1 } else { 1 }).sum();
    assert_eq!(server.refreshes(), 2 * heard);
    assert_trust(&server);
}

#[test]
fn every_fault_after_every_other() {
    let server = Server::start();
    side_by_side(FAULTS, |(first, _)| {
        let way = Way::to(&server);
        for (second, _) in FAULTS {
            way.cli.let_pass(SignedDuration::from_mins(16));
            way.proxy.break_refreshes([first(), second()]);
            let get = way.cli.run(GET);
            assert_eq!(get.code, Some(0), "{:?}, then {:?}: {}", first(), second(), get.stderr);
        }
        way.has_rotated(FAULTS.len() as u64);
    });
    assert_trust(&server);
}

#[test]
fn a_server_that_is_killed_before_its_answer_is_out_and_comes_back() {
    side_by_side([Point::Request, Point::Answer, Point::Body], |point| {
        let mut server = Server::start();
        let way = Way::to(&server);
        let hold = way.proxy.hold("/refresh", point);
        let get = way.cli.start(GET);
        hold.wait();
        server.kill();
        // Its connections break with it.
        drop(hold);
        let get = get.finish().expect(6);
        assert!(get.stderr.contains("hint: the session stands; try again"), "{}", get.stderr);
        server.restart("15m");
        eventually("the failure is forgotten", || way.cli.run(GET).code == Some(0));
        way.heals();
        assert_trust(&server);
    });
}

/// Faults after which a refresh is tried again, and whether the server has heard of it.
const FAULTS: [(fn() -> Fault, When); 9] = [
    (|| Fault::Drop(When::Before), When::Before),
    (|| Fault::Drop(When::After), When::After),
    (|| Fault::CutHead, When::After),
    (|| Fault::CutBody, When::After),
    (|| Fault::BadGateway(When::After), When::After),
    (|| Fault::Page(When::After), When::After),
    (|| Fault::Garbage(When::After), When::After),
    (|| Fault::LongLength, When::After),
    (|| Fault::ShortLength, When::After),
];
