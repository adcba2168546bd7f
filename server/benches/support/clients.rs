//! Callers that log in, and that refresh without a tool between, where the single call is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::servers::Server;

/// Callers of servers on this machine.
pub(crate) struct Clients {
    runtime: Runtime,
    http: Client,
}

/// The tokens of a session.
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Clients {
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        // Node.js closes connections that were idle for five seconds, and would meet the next request on one.
        let http = Client::builder().no_proxy().pool_idle_timeout(Duration::from_secs(1)).build();
        Self { runtime, http: http.expect("a client can be built") }
    }

    /// Runs what waits for somebody else.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Opens so many sessions, one after the other: each costs a password hash.
    pub(crate) fn log_in(&self, server: &Server, sessions: usize) -> Vec<Tokens> {
        let url = format!("{}/login", server.url);
        let login = json!({"username": "admin", "password": "123456"});
        self.runtime.block_on(async {
            let mut opened = Vec::with_capacity(sessions);
            for _ in 0..sessions {
                opened.push(tokens(self.http.post(&url).json(&login)).await);
            }
            opened
        })
    }

    /// Refreshes each session over and over, all of them at once, until there were so many refreshes in all; returns
    /// what the sessions have then.
    pub(crate) fn refresh(&self, server: &Server, sessions: Vec<Tokens>, refreshes: u64) -> Vec<Tokens> {
        let url = format!("{}/refresh", server.url);
        let done = AtomicU64::new(0);
        let chains = sessions.into_iter().map(async |mut session| {
            while done.fetch_add(1, Ordering::Relaxed) < refreshes {
                let attempt = self.http.post(&url).header("idempotency-key", &session.refresh[..16]);
                session = tokens(attempt.json(&json!({"refreshToken": session.refresh}))).await;
            }
            session
        });
        self.runtime.block_on(join_all(chains))
    }
}

async fn tokens(request: reqwest::RequestBuilder) -> Tokens {
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.expect("the answer is JSON");
    let field = |name: &str| body[name].as_str().expect("the answer holds both tokens").to_owned();
    Tokens { access: field("accessToken"), refresh: field("refreshToken") }
}
