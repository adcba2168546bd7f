//! Foreign peers: `authcli` on a Koa server, axios clients on `authcli-server`.
//!
//! The peers are in `tests/peers/`, in Node.js, with the wire behaviour of the dual-token servers and clients that are
//! out there. With `SEED_MD=PATH` the code blocks of that seed document are peers as well.
//!
//! What is counted is counted by the other side: `/__counts` of the Koa server. Nothing here asserts a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Cli, Peer, Running, Server, node};

/// The seed's access tokens live so long.
const ACCESS_TTL: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn logs_in_to_a_koa_server_and_calls_it() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let cli = server.user();
        let answer = cli.run(&["get", "/protected"]).expect(0).silent();
        assert_eq!(answer.json(), json!({"message": "Protected resource", "userId": 1}));
        assert_eq!(server.counts(), json!({"login": 1, "refresh": 0, "protected": 1, "refused": 0}));
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn ten_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(10);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_hundred_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(100);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_thousand_calls_at_once_on_an_expired_token_cost_a_koa_server_one_refresh() {
    burst_on_an_expired_token(1000);
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn sixteen_processes_on_an_expired_token_cost_a_koa_server_one_refresh() {
    let _turn = turn();
    // Sixteen processes of an unoptimised build take a while to start on a busy machine: within that time the new token
    // must not expire again.
    for server in koa_servers(Duration::from_secs(6)) {
        let cli = server.user();
        wait_for_expiry(server.access_ttl);
        sixteen_processes(&server, &cli);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_wrong_password_leaves_the_session_at_a_koa_server_alone() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let cli = server.user();
        let login = ["login", "-u", "admin", "--password-stdin"];
        let refused = cli.run_with_input(&login, "correct horse\n").expect(4).without_stdout();
        assert!(!refused.stderr.contains("correct horse"), "{}", refused.stderr);
        cli.run(&["get", "/protected"]).expect(0);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn logs_out_of_a_koa_server_that_has_no_such_call() {
    let _turn = turn();
    for server in koa_servers(ACCESS_TTL) {
        let cli = server.user();
        cli.run(&["logout"]).expect(0);
        cli.run(&["get", "/protected"]).expect(7);
        assert_eq!(server.counts()["protected"], 0);
    }
}

/// The servers whose APIs are of another shape (`shaped-server.mjs`), what comes before their paths, and how a profile
/// describes them.
const SHAPES: [(&str, &str, &str); 2] = [
    (
        "nested",
        "/api/v2",
        "
        login.path = '/session/sign-in'
        login.username = '/user/email'
        login.password = '/user/password'
        login.fields = { '/client/name' = 'cli' }
        login.headers = { X-Api-Key = 'an-api-key-that-every-call-needs' }
        refresh.method = 'PUT'
        refresh.path = '/session'
        refresh.token = 'header:Authorization'
        refresh.headers = { X-Api-Key = 'an-api-key-that-every-call-needs' }
        refresh.ended = [422]
        refresh.ended_errors = ['session_over']
        refresh.answer.access_token = '/data/token'
        logout.method = 'DELETE'
        logout.path = '/session'
        logout.token = 'header:Authorization'
        logout.headers = { X-Api-Key = 'an-api-key-that-every-call-needs' }
        answer.access_token = '/data/tokens/access'
        answer.refresh_token = '/data/tokens/refresh'
        answer.expires_in = '/data/ttl'
        answer.error = '/errors/0/code'
        token.header = 'X-Access-Token'
        ",
    ),
    (
        "form",
        "",
        "
        body = 'form'
        expired = [419]
        login = { path = '/token', username = 'user_name', password = 'pass_word', fields = { grant = 'password' } }
        refresh = { path = '/token/refresh', token = 'header:X-Refresh-Token' }
        logout.enabled = false
        answer.access_token = '/access_token'
        answer.refresh_token = '/refresh_token'
        answer.expires_in = '/expires_in'
        answer.error = '/message'
        token.scheme = 'Token'
        ",
    ),
];

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn koa_servers_of_other_shapes_from_login_to_logout() {
    let _turn = turn();
    for shape in SHAPES {
        let (server, cli) = shaped(shape, Duration::from_mins(1));
        cli.run(&["get", "/protected"]).expect(0).silent();
        cli.run(&["refresh"]).expect(0);
        cli.run(&["get", "/protected"]).expect(0).silent();
        assert_eq!(server.counts(), json!({"login": 1, "refresh": 1, "protected": 2, "refused": 0}));
        let login = ["login", "-u", "admin", "--password-stdin"];
        let refused = cli.run_with_input(&login, "wrong\n").expect(4).without_stdout();
        assert!(refused.stderr.contains("refused the login"), "{}", refused.stderr);
        cli.run(&["logout"]).expect(0);
        cli.run(&["get", "/protected"]).expect(7);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn a_hundred_calls_at_once_on_an_expired_token_cost_a_koa_server_of_another_shape_one_refresh() {
    let _turn = turn();
    for shape in SHAPES {
        let (server, cli) = shaped(shape, ACCESS_TTL);
        wait_for_expiry(server.access_ttl);
        let report = cli.run(&["burst", "-n", "100", "--json"]).expect(0).silent().json();
        check_burst(&server, &report, 100);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn sixteen_processes_on_an_expired_token_cost_a_koa_server_of_another_shape_one_refresh() {
    let _turn = turn();
    for shape in SHAPES {
        // One of them ends the session of whoever redeems a token twice.
        let (server, cli) = shaped(shape, Duration::from_secs(6));
        wait_for_expiry(server.access_ttl);
        sixteen_processes(&server, &cli);
    }
}

#[test]
#[ignore = "needs Node.js and `npm ci` in tests/peers: run `make test`"]
fn axios_clients_get_all_their_answers_from_authcli_server() {
    let _turn = turn();
    let server = Server::with_access_ttl("2s");
    for client in peers(&["axios-client.mjs"], &["seed.mjs", "client"]) {
        for requests in [10, 100, 1000] {
            let mut command = node(client);
            command.args(["--server", &server.url, "--requests", &requests.to_string()]);
            let report = Running::start(command).finish().expect(0).json();
            assert_eq!(report["succeeded"], requests, "{client:?}: {report}");
            assert!(report["refreshes"].as_u64() >= Some(1), "{client:?}: {report}");
        }
    }
}

#[track_caller]
fn sixteen_processes(server: &Koa, cli: &Cli) {
    let start = Instant::now();
    let processes: Vec<Running> = (0..16).map(|_| cli.start(&["get", "/protected"])).collect();
    for process in processes {
        process.finish().expect(0).silent();
    }
    let due = server.refreshes_due(start.elapsed());
    let refreshes = server.counts()["refresh"].as_u64().unwrap();
    assert!((1..=due).contains(&refreshes), "{refreshes} refreshes, {due} due");
}

/// Expects every call of a burst to have succeeded, and as many refreshes as were due.
#[track_caller]
fn check_burst(server: &Koa, report: &Value, requests: u64) {
    let figure = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((figure("requests"), figure("succeeded"), figure("failed")), (requests, requests, 0), "{report}");
    assert_eq!(report["statuses"], json!({"200": requests}), "{report}");

    let (refreshes, retried) = (figure("refreshes"), figure("retried"));
    let elapsed = Duration::from_secs_f64(report["elapsed_ms"].as_f64().unwrap() / 1e3);
    assert!((1..=server.refreshes_due(elapsed)).contains(&refreshes), "{report}");
    let expected = json!({
        "login": 1, "refresh": refreshes, "protected": requests + retried, "refused": retried,
    });
    assert_eq!(server.counts(), expected, "{report}");
}

fn burst_on_an_expired_token(requests: u64) {
    let _turn = turn();
    // On a busy machine a thousand calls wait at the server for longer than a token of two seconds lives, and one that is
    // refused twice is told so.
    let access_ttl = if requests < 1000 { ACCESS_TTL } else { 4 * ACCESS_TTL };
    for server in koa_servers(access_ttl) {
        let cli = server.user();
        wait_for_expiry(server.access_ttl);
        let report = cli.run(&["burst", "-n", &requests.to_string(), "--json"]).expect(0).silent().json();
        check_burst(&server, &report, requests);
    }
}

/// Sleeps until the server, too, calls a token that it has just issued expired. It is the clock of a foreign server that
/// has to move on.
fn wait_for_expiry(ttl: Duration) {
    thread::sleep(ttl + Duration::from_millis(100));
}

/// Lets one of these tests run at a time: a thousand requests beside it could make another's burst outlast its token.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running Koa server.
pub(crate) struct Koa {
    peer: Peer,
    access_ttl: Duration,
}

/// Returns the Koa servers: ours, and the seed's own where there is one, whose tokens always live 2 s.
fn koa_servers(access_ttl: Duration) -> impl Iterator<Item = Koa> {
    let lifetimes = [access_ttl, ACCESS_TTL];
    peers(&["koa-server.mjs"], &["seed.mjs", "server"]).zip(lifetimes).map(|(script, ttl)| Koa::start(script, ttl))
}

/// A server of another shape, and a user who has logged in there.
fn shaped((shape, path, api): (&str, &str, &str), access_ttl: Duration) -> (Koa, Cli) {
    let server = Koa::start(&["shaped-server.mjs", shape], access_ttl);
    let cli = Cli::new(&format!("{}{path}", server.peer.url));
    cli.configure(&format!("[profiles.default.api]\n{api}"));
    cli.login();
    (server, cli)
}

impl Koa {
    pub(crate) fn start(script: &[&str], access_ttl: Duration) -> Self {
        let peer = Peer::start(script, &[("ACCESS_TTL", &access_ttl.as_secs().to_string())]);
        Self { peer, access_ttl }
    }

    /// A user who has logged in.
    pub(crate) fn user(&self) -> Cli {
        let cli = Cli::new(&self.peer.url);
        cli.login();
        cli
    }

    /// Returns how many refreshes may be made in this time: one, and one more for each 0.75 of a token's life. The
    /// server's JWTs count whole seconds from the second they were issued in, so a life may be a second shorter.
    fn refreshes_due(&self, elapsed: Duration) -> u64 {
        let each = self.access_ttl.saturating_sub(Duration::from_secs(1)) * 3 / 4;
        1 + u64::try_from(elapsed.as_millis() / each.as_millis()).unwrap()
    }

    pub(crate) fn counts(&self) -> Value {
        self.peer.counts()
    }
}

/// Returns our own peer, and the seed's where there is a seed document.
fn peers<'a>(ours: &'a [&'a str], seeds: &'a [&'a str]) -> impl Iterator<Item = &'a [&'a str]> {
    let seeds = std::env::var_os("SEED_MD").filter(|path| !path.is_empty()).map(|_| seeds);
    std::iter::once(ours).chain(seeds)
}
