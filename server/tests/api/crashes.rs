//! Servers and databases that die in the middle of a storm of refreshes, logins and logouts: whatever was answered stays.
//!
//! A token that is ahead of its row is renewed all the same, so that its client loses nothing by a database that lost its
//! last moments. That it has lost none, the rows alone can tell: they are looked at before anybody refreshes again.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use authcli_server::store::{self, Missing};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::sync::watch;

use crate::clients::{Chain, Service, Visitor};
use crate::helpers::{Backend, eventually, on_both_stores};
use crate::postgres::{Cluster, database_url};
use crate::program::{Place, Program};

on_both_stores!(r2_what_was_answered_outlives_a_server_that_is_killed);

const CHAINS: usize = 16;
const VISITORS: usize = 2;
const ROUNDS: usize = 20;

/// Everybody who is about something when it crashes.
struct Crowd {
    chains: Vec<Chain>,
    visitors: Vec<Visitor>,
}

impl Crowd {
    /// Each fourth of those who refresh sends no key.
    async fn gather(service: &Service) -> Crowd {
        let chains = join_all((0..CHAINS).map(|at| Chain::log_in(service, at % 4 != 0))).await;
        Crowd { chains, visitors: (0..VISITORS).map(|_| Visitor::default()).collect() }
    }

    /// Looks at the rows of everybody in a database that was not used since it came back.
    async fn expect_kept(&self, database: &str) {
        let store = store::open(&database_url(database), Missing::Refuse).await.unwrap();
        for chain in &self.chains {
            chain.expect_kept(&*store).await;
        }
        for visitor in &self.visitors {
            visitor.expect_kept(&*store).await;
        }
        store.close().await;
    }
}

fn serve(place: &Place, database: &str) -> Command {
    let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "1h"]);
    command.env("AUTHCLI_SERVER_DATABASE", database).env("AUTHCLI_SERVER_LOG", "warn");
    command
}

/// Expects a server to have missed nothing that it had answered, and to have taken none of these clients for a thief.
fn expect_no_alarm(log: &str) {
    for alarm in ["ahead of the database", "reuse"] {
        assert!(!log.contains(alarm), "{log}");
    }
}

async fn r2_what_was_answered_outlives_a_server_that_is_killed(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let mut server = Program::start(serve(&place, &database));
    let mut crowd = Crowd::gather(&Service::of(&server)).await;
    for round in 0..ROUNDS {
        // A login that a crash interrupts stays counted as a failure, and these rounds have more of them than there is room.
        place.execute(&database, "DELETE FROM login_attempts").await;
        let service = Service::of(&server);
        for chain in &mut crowd.chains {
            assert_eq!(service.get("/protected", Some(chain.access())).await.unwrap(), 200, "round {round}");
            assert_eq!(chain.refresh(&service).await.unwrap(), 200, "round {round}");
        }
        // Each round is cut off at another moment.
        let enough = 7 + 13 * round;
        let (answered, visited) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let refreshes = join_all(crowd.chains.iter_mut().map(async |chain| {
            while let Ok(status) = chain.refresh(&service).await {
                assert_eq!(status, 200, "round {round}");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let visits = join_all(crowd.visitors.iter_mut().map(async |visitor| {
            while let Ok(status) = visitor.step(&service).await {
                assert!([200, 204].contains(&status), "round {round}: {status}");
                visited.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let kill = async {
            let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
            eventually("a storm", async || of(&answered) >= enough && of(&visited) > 0).await;
            server.signal(Signal::KILL);
        };
        tokio::join!(refreshes, visits, kill);
        let killed = server.end();
        assert_eq!(killed.code, None, "killed");
        expect_no_alarm(&killed.stderr);
        server = Program::start(serve(&place, &database));
        crowd.expect_kept(&database).await;
    }
    let service = Service::of(&server);
    for chain in &mut crowd.chains {
        assert_eq!(chain.refresh(&service).await.unwrap(), 200);
    }
    assert!(crowd.visitors.iter().any(Visitor::has_been_and_gone));
    expect_no_alarm(&server.stop().stderr);
}

/// Works until the database is away, or until it is back; each must notice by itself.
async fn work(crowd: &mut Crowd, service: &Service, access: &str, answered: &AtomicUsize, phase: &Phase) {
    let refreshes = crowd.chains.iter_mut().map(async |chain| {
        phase.last(answered, async || chain.refresh(service).await).await;
    });
    let visits = crowd.visitors.iter_mut().map(async |visitor| {
        phase.last(answered, async || visitor.step(service).await).await;
    });
    let calls = ["/protected", "/sessions"].map(async |path| {
        phase.last(answered, async || service.get(path, Some(access)).await).await;
    });
    tokio::join!(join_all(refreshes), join_all(visits), join_all(calls));
}

/// What whoever works waits for.
enum Phase {
    /// The first answer that says that the database is away.
    Away,
    /// The first answer to a request that was sent when it was back, and that says otherwise.
    Back(watch::Receiver<bool>),
}

impl Phase {
    async fn last(&self, answered: &AtomicUsize, mut step: impl AsyncFnMut() -> reqwest::Result<u16>) {
        loop {
            let was_back = matches!(self, Phase::Back(back) if *back.borrow());
            let status = step().await.unwrap();
            // Nobody is told that what it has is bad.
            assert!([200, 204, 503].contains(&status), "{status}");
            let away = status == 503;
            if !away {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            match self {
                Phase::Away if away => return,
                Phase::Back(_) if was_back && !away => return,
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn r2_a_database_that_crashes_is_503_until_it_is_back_and_nothing_is_lost() {
    let place = Place::new();
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let server = Program::start(serve(&place, &database));
    let service = Service::of(&server);
    let mut crowd = Crowd::gather(&service).await;
    // Who calls with its access token, and refreshes nothing meanwhile.
    let caller = Chain::log_in(&service, true).await;
    for _ in 0..3 {
        let answered = AtomicUsize::new(0);
        let crash = async {
            eventually("a load", async || answered.load(Ordering::Relaxed) >= 4 * CHAINS).await;
            tokio::task::block_in_place(|| cluster.crash());
        };
        tokio::join!(work(&mut crowd, &service, caller.access(), &answered, &Phase::Away), crash);
        assert_eq!(service.get("/healthz", None).await.unwrap(), 200);
        assert_eq!(service.get("/readyz", None).await.unwrap(), 503);
        // Where the server does not find it, so that nobody changes what is looked at.
        let aside = tokio::task::block_in_place(|| cluster.resume_aside(&database));
        crowd.expect_kept(&aside).await;
        tokio::task::block_in_place(|| cluster.stop());

        let (back, is_back) = watch::channel(false);
        let resume = async {
            tokio::task::block_in_place(|| cluster.resume());
            back.send_replace(true);
        };
        let phase = Phase::Back(is_back);
        tokio::join!(work(&mut crowd, &service, caller.access(), &answered, &phase), resume);
        for chain in &crowd.chains {
            assert_eq!(service.get("/protected", Some(chain.access())).await.unwrap(), 200);
        }
    }
    // More than would be let through if they counted as failures.
    for _ in 0..12 {
        Chain::log_in(&service, true).await;
    }
    let patience = tokio::time::timeout(Duration::from_secs(20), async { server.stop() });
    let ended = patience.await.unwrap();
    assert_eq!(ended.code, Some(0));
    expect_no_alarm(&ended.stderr);
}
