//! The path of every request that finds a fresh token allocates nothing.

#![expect(clippy::expect_used, reason = "a broken expectation is a failed test")]

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use allocation_counter::measure;
use authcli::clock::SystemClock;
use authcli::credential::{Credential, NewSession};
use authcli::error::TokenError;
use authcli::expiry::Lifetime;
use authcli::gate::{Clock, RefreshGate, Work};
use authcli::http::{ClientOptions, LazyClient, ServerUrl};
use authcli::renewal::{ApiShape, JsonApi};
use authcli::store::StoreKind;
use authcli::token::{IssuedTokens, Secret, TokenSet};
use futures_util::FutureExt as _;
use tempfile::TempDir;

type Outcome = Result<Arc<TokenSet>, Arc<TokenError>>;

/// How often a path is taken while allocations are counted: one that allocates now and then is found too.
const CALLS: u64 = 1_000;

#[test]
fn a_fresh_token_is_had_without_an_allocation() {
    for work in [Work::Short, Work::Long] {
        for lifetime in [Lifetime::of(Duration::from_hours(1)), Lifetime::UNKNOWN] {
            let (_directory, gate) = logged_in(lifetime, work);
            assert_eq!(allocations(|| poll_once(gate.current())), 0, "{work:?}, {lifetime:?}");
        }
    }
}

/// Proves that the count above can be anything but zero: the same call, boxed, is one allocation.
#[test]
fn an_allocation_on_that_path_would_be_counted() {
    let (_directory, gate) = logged_in(Lifetime::UNKNOWN, Work::Short);
    assert_eq!(allocations(|| poll_once(black_box(Box::pin(gate.current())))), CALLS);
}

/// Counts what `call` allocates on a thread that has been through it before. A thread's first look takes a place to note
/// such looks in, which is made once for each thread that looks at the same time as others, and never again.
fn allocations(call: impl Fn() + Sync) -> u64 {
    let counted = || {
        call();
        measure(|| (0..CALLS).for_each(|_| call())).count_total
    };
    thread::scope(|scope| scope.spawn(counted).join().expect("the call does not panic"))
}

/// No runtime is needed: the future is ready when it is first polled.
fn poll_once(current: impl Future<Output = Outcome>) {
    let tokens = current.now_or_never().expect("it is ready at once").expect("the token is fresh");
    black_box(tokens);
}

/// A gate on a new session in the file store, as the program makes it.
fn logged_in(access_lifetime: Lifetime, work: Work) -> (TempDir, RefreshGate) {
    let directory = TempDir::new().expect("a temporary directory");
    let server = ServerUrl::parse("http://127.0.0.1:9").expect("a URL");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let session = NewSession {
        server: server.url().clone(),
        refresh_endpoint: server.join("refresh").expect("a URL"),
        revocation_endpoint: None,
        oauth: None,
        account: None,
        issued: IssuedTokens {
            access_token: Secret::new("access"),
            refresh_token: Some(Secret::new("refresh")),
            access_lifetime,
            refresh_lifetime: Lifetime::UNKNOWN,
        },
        received_at: clock.now(),
    };
    let credential = Credential::open(directory.path(), "one", StoreKind::File);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let tokens = runtime.block_on(async {
        let locked = credential.lock().await.expect("nobody else is there");
        locked.save(session).await.expect("the session is saved");
        credential.load().await.expect("it is loaded").expect("it is there")
    });
    let client = LazyClient::new(server.clone(), ClientOptions::default());
    let renewal = Arc::new(JsonApi::new(ApiShape::default(), &server, client, Arc::clone(&clock)));
    (directory, RefreshGate::new(tokens, credential.ports(renewal, clock), work))
}
