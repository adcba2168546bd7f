//! A network that breaks between the real client and the real server, at a refresh.
//!
//! Whatever breaks, nobody has to log in again: the session is the same afterwards, the server has rotated it once
//! however often it was asked, and took nothing for a theft.

use std::thread;
use std::time::Duration;

use jiff::SignedDuration;

use crate::support::{Cli, Fault, Proxy, Server, When, eventually};

/// The calls that are broken: one alone, and many that wait for one refresh.
pub(super) const GET: &[&str] = &["get", "/protected"];
pub(super) const BURST: &[&str] = &["burst", "-n", "50"];
/// How often one refresh is tried.
const TRIES: usize = 3;

/// A logged-in user behind a proxy, whose token is at its end.
pub(super) struct Way {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    pub(super) cli: Cli,
    session: serde_json::Value,
    generation: u64,
}

impl Way {
    pub(super) fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::to(&server.url);
        let cli = Cli::new(&proxy.url);
        cli.login();
        cli.let_pass(SignedDuration::from_mins(16));
        let stored = cli.stored();
        Self { server, proxy, cli, session: stored["session"].clone(), generation: generation(&stored) }
    }

    /// The network is mended: the very next call succeeds.
    #[track_caller]
    pub(super) fn heals(&self) {
        self.proxy.break_refreshes([]);
        self.cli.run(GET).expect(0).silent();
        self.stands();
    }

    #[track_caller]
    fn stands(&self) {
        let stored = self.cli.stored();
        assert_eq!(stored["session"], self.session);
        assert_eq!(generation(&stored), self.generation + 1, "one rotation, however many calls");
        assert_eq!((self.server.reuses(), self.server.refused_refreshes()), (0, 0));
    }
}

fn generation(stored: &serde_json::Value) -> u64 {
    stored["generation"].as_u64().unwrap()
}

/// Breaks one refresh. The call succeeds all the same, after so many tries, of which the server has heard of so many.
fn one_costs_nothing(fault: impl Fn() -> Fault + Sync, tries: usize, heard: usize) {
    side_by_side([GET, BURST], |arguments| {
        let way = Way::new();
        way.proxy.break_refreshes([fault()]);
        way.cli.run(arguments).expect(0).silent();
        assert_eq!((way.proxy.refreshes(), way.server.refreshes()), (tries, heard), "{arguments:?}");
        way.heals();
        assert_eq!(way.proxy.refreshes(), tries, "nobody refreshes again");
    });
}

/// Breaks every try. The call fails, and costs nothing but itself.
fn all_cost_one_call(fault: impl Fn() -> Fault + Sync, heard: usize) {
    side_by_side([GET, BURST], |arguments| {
        let way = Way::new();
        way.proxy.break_refreshes((0..TRIES).map(|_| fault()));
        let failed = way.cli.run(arguments).expect(6);
        assert!(failed.stderr.contains("hint: the session stands; try again"), "{}", failed.stderr);
        assert_eq!((way.proxy.refreshes(), way.server.refreshes()), (TRIES, heard), "{arguments:?}");
        // A failure is remembered for a second, by a real clock: until then the same error comes without a call.
        eventually("the failure is forgotten", || way.cli.run(GET).code == Some(0));
        way.heals();
        assert_eq!(way.proxy.refreshes(), TRIES + 1);
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
    all_cost_one_call(|| Fault::Drop(When::Before), 0);
}

#[test]
fn a_connection_that_is_closed_after_the_server_has_rotated() {
    one_costs_nothing(|| Fault::Drop(When::After), 2, 2);
    all_cost_one_call(|| Fault::Drop(When::After), 3);
}

#[test]
fn an_answer_that_is_cut_in_its_head() {
    one_costs_nothing(|| Fault::CutHead, 2, 2);
    all_cost_one_call(|| Fault::CutHead, 3);
}

#[test]
fn an_answer_that_is_cut_in_its_body() {
    one_costs_nothing(|| Fault::CutBody, 2, 2);
    all_cost_one_call(|| Fault::CutBody, 3);
}

#[test]
fn an_answer_that_announces_more_than_comes() {
    one_costs_nothing(|| Fault::LongLength, 2, 2);
    all_cost_one_call(|| Fault::LongLength, 3);
}

#[test]
fn an_answer_that_announces_less_than_comes() {
    one_costs_nothing(|| Fault::ShortLength, 2, 2);
    all_cost_one_call(|| Fault::ShortLength, 3);
}

#[test]
fn a_gateway_that_loses_its_server() {
    one_costs_nothing(|| Fault::BadGateway(When::Before), 2, 1);
    one_costs_nothing(|| Fault::BadGateway(When::After), 2, 2);
    all_cost_one_call(|| Fault::BadGateway(When::After), 3);
}

#[test]
fn a_page_in_place_of_the_answer() {
    one_costs_nothing(|| Fault::Page(When::Before), 2, 1);
    one_costs_nothing(|| Fault::Page(When::After), 2, 2);
    all_cost_one_call(|| Fault::Page(When::After), 3);
}

#[test]
fn garbage_in_place_of_the_answer() {
    one_costs_nothing(|| Fault::Garbage(When::Before), 2, 1);
    one_costs_nothing(|| Fault::Garbage(When::After), 2, 2);
    all_cost_one_call(|| Fault::Garbage(When::After), 3);
}

#[test]
fn every_fault_after_every_other() {
    let faults: [fn() -> Fault; 9] = [
        || Fault::Drop(When::Before),
        || Fault::Drop(When::After),
        || Fault::CutHead,
        || Fault::CutBody,
        || Fault::BadGateway(When::After),
        || Fault::Page(When::After),
        || Fault::Garbage(When::After),
        || Fault::LongLength,
        || Fault::ShortLength,
    ];
    let server = Server::start();
    side_by_side(faults, |first| {
        let proxy = Proxy::to(&server.url);
        let cli = Cli::new(&proxy.url);
        cli.login();
        let before = cli.stored();
        for second in faults {
            cli.let_pass(SignedDuration::from_mins(16));
            proxy.break_refreshes([first(), second()]);
            let get = cli.run(GET);
            assert_eq!(get.code, Some(0), "{:?}, then {:?}: {}", first(), second(), get.stderr);
        }
        let after = cli.stored();
        assert_eq!((&after["session"], generation(&after)), (&before["session"], generation(&before) + 9));
    });
    assert_eq!((server.reuses(), server.refused_refreshes()), (0, 0));
}
