//! Background refresh against the real server: half a minute of requests with tokens that live for four seconds.
//!
//! It is a test program of its own, so that nothing else of the tests runs beside it: it is about who waits.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken expectation is a failed test")]

// Only a part of it is used here.
#[expect(dead_code, unused_imports, reason = "shared with the command line's tests")]
#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use authcli::clock::SystemClock;
use authcli::gate::{Clock, RefreshGate, Work};
use authcli::http::{ClientOptions, LazyClient, ServerUrl};
use authcli::renewal::{ApiShape, JsonApi};
use authcli::session::Request;
use authcli::store::StoreKind;
use authcli::{Attachment, Credential, Session};
use futures_util::FutureExt as _;
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::support::{Cli, Server};

const RUN: Duration = Duration::from_secs(30);
/// Its last quarter, less what a token is no longer used for, is the time that a refresh has: 0.6 s. With tokens of two
/// seconds it would be half of that, and a disk that is slow for once would be what is tested.
const LIFETIME: Duration = Duration::from_secs(4);
/// Several requests a lifetime, and far fewer than keep a refresh busy by themselves.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_and_none_waits_for_a_refresh() {
    let server = Server::with_access_ttl(&format!("{}s", LIFETIME.as_secs()));
    let cli = Cli::new(&server.url);
    cli.login();
    let session = session_of(&cli, &server.url).await;
    let url = session.server().join("protected").unwrap();
    let request = Request::new(Method::GET, url);

    session.gate().keep_ahead();
    let start = Instant::now();
    let mut ticks = interval(BETWEEN_REQUESTS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests = 0_u32;
    while start.elapsed() < RUN {
        ticks.tick().await;
        // What the request below asks the gate for is there without a wait.
        session.gate().current().now_or_never().expect("nobody waits for a refresh").unwrap();
        let answer = session.send(&request).await.unwrap();
        assert_eq!((answer.response.status(), answer.retried), (StatusCode::OK, false), "after {:?}", start.elapsed());
        requests += 1;
    }
    session.gate().close().await.unwrap();

    assert!(requests > 1_000, "{requests} requests in {RUN:?}");
    // One at three quarters of each life.
    let lives = RUN.as_millis() / (LIFETIME.as_millis() * 3 / 4);
    let refreshes = session.gate().counts().refreshes;
    assert!((lives - 2..=lives + 1).contains(&u128::from(refreshes)), "{refreshes} refreshes for {lives} lives");
    assert_eq!(server.refreshes() as u64, refreshes);
}

/// The session that `cli` has logged in to, as the program opens it.
async fn session_of(cli: &Cli, server: &str) -> Session {
    let credential = Credential::open(&cli.configuration(), &cli.credential(), StoreKind::File);
    let tokens = credential.load().await.unwrap().expect("somebody is logged in");
    let server = ServerUrl::parse(server).unwrap();
    let client = LazyClient::new(server.clone(), ClientOptions::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let renewal = Arc::new(JsonApi::new(ApiShape::default(), &server, client.clone(), Arc::clone(&clock)));
    let gate = RefreshGate::new(tokens, credential.ports(renewal, clock), Work::Long);
    Session::new(gate, client, server, Attachment::default())
}
