//! Servers and databases that die in the middle of a storm of refreshes: whatever was answered stays good.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::helpers::{Backend, eventually, on_both_stores};
use crate::postgres::Cluster;
use crate::program::{Place, Program};

on_both_stores!(r2_what_was_answered_outlives_a_server_that_is_killed);

const CLIENTS: usize = 16;
const ROUNDS: usize = 20;

/// A client that keeps refreshing one session, and repeats what was not answered.
struct Chain {
    access: String,
    refresh: String,
    /// Names the attempt; changes with each answer.
    attempt: usize,
}

impl Chain {
    async fn log_in(client: &Client, url: &str) -> Chain {
        let body = json!({ "username": "admin", "password": "123456" });
        let answer = client.post(format!("{url}/login")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut chain = Chain { access: String::new(), refresh: String::new(), attempt: 0 };
        chain.take(&answer.json().await.unwrap());
        chain
    }

    fn take(&mut self, pair: &Value) {
        pair["accessToken"].as_str().unwrap().clone_into(&mut self.access);
        pair["refreshToken"].as_str().unwrap().clone_into(&mut self.refresh);
        self.attempt += 1;
    }

    /// Sends the refresh that is next, or once more the one that was not answered; returns its status.
    async fn refresh(&mut self, client: &Client, url: &str) -> reqwest::Result<u16> {
        let request = client.post(format!("{url}/refresh")).header("Idempotency-Key", format!("{:032}", self.attempt));
        let answer = request.json(&json!({ "refreshToken": self.refresh })).send().await?;
        let status = answer.status().as_u16();
        if status == 200 {
            self.take(&answer.json().await?);
        }
        Ok(status)
    }

    async fn protected(&self, client: &Client, url: &str) -> u16 {
        let request = client.get(format!("{url}/protected")).bearer_auth(&self.access);
        request.send().await.unwrap().status().as_u16()
    }
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn serve(place: &Place, database: &str) -> Command {
    let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "1h"]);
    command.env("AUTHCLI_SERVER_DATABASE", database).env("AUTHCLI_SERVER_LOG", "off");
    command
}

async fn r2_what_was_answered_outlives_a_server_that_is_killed(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let mut chains = Vec::new();
    for round in 0..ROUNDS {
        let server = Program::start(serve(&place, &database));
        let (client, url) = (client(), server.url.clone());
        if chains.is_empty() {
            chains = join_all((0..CLIENTS).map(|_| Chain::log_in(&client, &url))).await;
        }
        for chain in &mut chains {
            assert_eq!(chain.protected(&client, &url).await, 200, "round {round}");
            assert_eq!(chain.refresh(&client, &url).await.unwrap(), 200, "round {round}");
        }
        // Each round is cut off at another moment.
        let enough = 7 + 13 * round;
        let answered = AtomicUsize::new(0);
        let storm = join_all(chains.iter_mut().map(|chain| {
            let (client, url, answered) = (&client, &url, &answered);
            async move {
                while let Ok(status) = chain.refresh(client, url).await {
                    assert_eq!(status, 200, "round {round}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
        let kill = async {
            eventually("a storm", async || answered.load(Ordering::Relaxed) >= enough).await;
            server.signal(Signal::KILL);
        };
        tokio::join!(storm, kill);
        assert_eq!(server.end().code, None, "killed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn r2_a_database_that_crashes_is_503_until_it_is_back_and_nothing_is_lost() {
    let place = Place::new();
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let server = Program::start(serve(&place, &database));
    let (client, url) = (client(), server.url.clone());
    let mut chains = join_all((0..CLIENTS).map(|_| Chain::log_in(&client, &url))).await;
    let (refused, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for _ in 0..3 {
        let (refused_before, answered_before) = (refused.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
        let (back, is_back) = tokio::sync::watch::channel(false);
        let load = join_all(chains.iter_mut().map(|chain| {
            let (client, url, refused, answered, is_back) = (&client, &url, &refused, &answered, is_back.clone());
            async move {
                let mut statuses = BTreeSet::new();
                // On and on, and once more after the database is back: each must get there by itself.
                loop {
                    let was_back = *is_back.borrow();
                    let status = chain.refresh(client, url).await.unwrap();
                    statuses.insert(status);
                    let counted = if status == 200 { answered } else { refused };
                    counted.fetch_add(1, Ordering::Relaxed);
                    if was_back && status == 200 {
                        return statuses;
                    }
                }
            }
        }));
        let crash = async {
            let more = |count: &AtomicUsize, before: usize| count.load(Ordering::Relaxed) >= before + CLIENTS;
            eventually("a load", async || more(&answered, answered_before)).await;
            tokio::task::block_in_place(|| cluster.crash());
            eventually("an outage", async || more(&refused, refused_before)).await;
            let alive = client.get(format!("{url}/healthz")).send().await.unwrap();
            assert_eq!(alive.status(), 200);
            let ready = client.get(format!("{url}/readyz")).send().await.unwrap();
            assert_eq!(ready.status(), 503);
            tokio::task::block_in_place(|| cluster.resume());
            back.send_replace(true);
        };
        let (statuses, ()) = tokio::join!(load, crash);
        for statuses in statuses {
            assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        }
        for chain in &chains {
            assert_eq!(chain.protected(&client, &url).await, 200);
        }
    }
    let patience = tokio::time::timeout(Duration::from_secs(20), async { server.stop() });
    assert_eq!(patience.await.unwrap().code, Some(0));
}
