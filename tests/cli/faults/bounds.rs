//! What waits as long as it may: a server that does not answer, a process that does not let go of the lock.
//!
//! These tests sleep by real clocks, so they do it side by side, in one test.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::network::{BURST, GET, Way, assert_trust, side_by_side};
use crate::support::{Answer, Cli, Endpoint, Fault, Server, When, eventually};

#[test]
fn what_takes_its_full_time_costs_nothing_but_time() {
    thread::scope(|scope| {
        scope.spawn(a_server_that_does_not_answer_once);
        scope.spawn(a_server_that_does_not_answer_at_all);
        scope.spawn(a_server_that_cannot_be_reached);
        scope.spawn(a_lock_held_past_the_bound);
    });
}

/// One try lasts ten seconds.
fn a_server_that_does_not_answer_once() {
    let cases = [(GET, When::Before, 1), (GET, When::After, 2), (BURST, When::Before, 1), (BURST, When::After, 2)];
    side_by_side(cases, |(arguments, when, heard)| {
        let server = Server::start();
        let way = Way::to(&server);
        way.proxy.break_refreshes([Fault::Hang(when)]);
        way.cli.run(arguments).expect(0).silent();
        assert_eq!((way.proxy.refreshes(), server.refreshes()), (2, heard));
        way.heals();
        assert_trust(&server);
    });
}

/// A refresh lasts thirty seconds at most, so there is time for two such tries.
fn a_server_that_does_not_answer_at_all() {
    let server = Server::start();
    let way = Way::to(&server);
    way.proxy.choose(|path| (path == "/refresh").then_some(Fault::Hang(When::After)));
    let get = way.cli.start(GET).finish_within(PATIENCE, || thread::sleep(PAUSE)).expect(6);
    assert!(get.stderr.contains("hint: the session stands; try again"), "{}", get.stderr);
    assert_eq!(way.proxy.refreshes(), 2);
    way.proxy.break_refreshes([]);
    eventually("the failure is forgotten", || way.cli.run(GET).code == Some(0));
    way.heals();
    assert_trust(&server);
}

/// A firewall that lets nothing through: no connection comes about, so nothing was sent, and nobody blames this later.
fn a_server_that_cannot_be_reached() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_listener, address) = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    });
    // Once its queue is full, the system lets requests for connections go unanswered.
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let _waiting: Vec<_> = std::iter::from_fn(|| connect().ok()).take(64).collect();
    cli.change_stored(|stored| stored["refresh_endpoint"] = format!("http://{address}/refresh").into());

    let get = cli.start(&["get", "/x"]).finish_within(PATIENCE, || thread::sleep(PAUSE)).expect(6).without_stdout();
    assert!(get.stderr.contains(&format!("caused by: could not connect to http://{address}\n")), "{}", get.stderr);
    let stamp = std::fs::read_to_string(cli.entry().with_extension("stamp")).unwrap();
    assert!(stamp.contains("\"failure\"") && !stamp.contains("\"renewing\""), "{stamp}");
}

/// A process waits 45 seconds for another one's refresh, and then asks nobody.
fn a_lock_held_past_the_bound() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let holder = cli.start(&["token"]);
    let refresh = endpoint.expect("POST", "/refresh");
    holder.signal(Signal::STOP);
    let connections = endpoint.connections();

    let since = Instant::now();
    let get = cli.start(&["get", "/x"]).finish_within(PATIENCE, || thread::sleep(PAUSE)).expect(9).without_stdout();
    assert!(since.elapsed() >= Duration::from_secs(45), "given up after {:?}", since.elapsed());
    assert!(get.stderr.contains(&format!("another process (pid {}) has held", holder.id())), "{}", get.stderr);
    assert!(get.stderr.ends_with("hint: see what that process does; the session stands\n"), "{}", get.stderr);
    assert_eq!(endpoint.connections(), connections, "nobody was asked");

    // Its own time for the refresh is over as well: whether it saw the answer before it saw that, it costs no session.
    holder.signal(Signal::CONT);
    let tokens = || Answer::tokens("access-2", "refresh-2", 900.0);
    refresh.reply(tokens());
    let answer_all = || endpoint.poll(PAUSE).into_iter().for_each(|call| call.reply(tokens()));
    let holder = holder.finish_within(PATIENCE, answer_all);
    assert!(matches!(holder.code, Some(0 | 6)), "{holder:?}");
    eventually("the failure is forgotten", || {
        let token = cli.start(&["token"]);
        token.finish_answering(&endpoint, |call| call.reply(tokens())).text() == "access-2\n"
    });
}

const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
