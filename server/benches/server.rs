//! The server under load: protected calls and refreshes beside a Koa server that keeps nothing, the same calls during a
//! flood of logins, and memory over a million refreshes.
//!
//! A call that fails, or is answered as it may not be, ends the measurement; no time does. `scripts/bench.sh` builds what
//! this needs and runs it; `WRK` names another binary than the one on the path. Arguments name the parts to run:
//! `protected`, `refresh`, `flood`, `memory` (takes minutes); without arguments all of them.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a broken expectation ends the measurement")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod clients;
    #[path = "../../../benches/support/figures.rs"]
    pub(crate) mod figures;
    #[expect(dead_code, reason = "the tests need more of it")]
    #[path = "../../tests/api/postgres.rs"]
    pub(crate) mod postgres;
    pub(crate) mod servers;
    pub(crate) mod wrk;
}

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs, iter, thread};

use sqlx::Connection as _;
use tempfile::NamedTempFile;

use self::support::clients::Clients;
use self::support::figures::{Comparison, Relation};
use self::support::postgres::{Cluster, connect};
use self::support::servers::Server;
use self::support::wrk::{Load, Script};

const ROUNDS: usize = 5;
/// How long one load of a round lasts.
const SECONDS: u32 = 3;
const CONNECTIONS: usize = 64;
const PROTECTED_TIMES_KOA: f64 = 25.0;
const PROTECTED_TIMES_OPEN: f64 = 0.8;
const SQLITE_TIMES_KOA: f64 = 8.0;
const POSTGRES_TIMES_KOA: f64 = 3.0;
/// A few callers that pause between calls.
const CALM_CONNECTIONS: usize = 16;
const FLOOD_CONNECTIONS: usize = 200;
const FLOODED_TIMES_CALM: f64 = 3.0;
/// When memory is looked at: after so many refreshes.
const SETTLED: u64 = 10_000;
const LOOKS: u64 = 10;
const ALL_REFRESHES: u64 = 1_000_000;
const GROWTH_MB: f64 = 8.0;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let parts: Vec<&str> = match arguments.as_slice() {
        [] => vec!["protected", "refresh", "flood", "memory"],
        named => named.iter().map(String::as_str).collect(),
    };
    let clients = Clients::new();
    for part in parts {
        println!("{part}: load average {}", load_average());
        match part {
            "protected" => protected(&clients),
            "refresh" => refresh(&clients),
            "flood" => flood(&clients),
            "memory" => memory(&clients),
            other => panic!("no part of this is called {other}"),
        }
        println!("{part}: load average {} at the end\n", load_average());
    }
}

/// `GET /protected` beside the Koa server, and beside a handler of ours that asks nobody who they are.
fn protected(clients: &Clients) {
    let (ours, koa) = (Server::on_sqlite(), Server::koa());
    let (our_header, koa_header) = (header(clients, &ours), header(clients, &koa));
    let load = Load { script: Script::Bearer, connections: CONNECTIONS, seconds: SECONDS };
    let protected = format!("{}/protected", ours.url);
    let beside_koa = Comparison::measure(
        "GET /protected",
        "requests/s",
        ROUNDS,
        [
            ("authcli-server", &mut || load.run(&protected, &our_header).per_second),
            ("Koa", &mut || load.run(&format!("{}/protected", koa.url), &koa_header).per_second),
        ],
    );
    beside_koa.print(Relation::TimesAtLeast, Some(PROTECTED_TIMES_KOA));
    let beside_open = Comparison::measure(
        "GET /protected beside no authentication",
        "requests/s",
        ROUNDS,
        [
            ("/protected", &mut || load.run(&protected, &our_header).per_second),
            ("/healthz", &mut || load.run(&format!("{}/healthz", ours.url), &our_header).per_second),
        ],
    );
    beside_open.print(Relation::TimesAtLeast, Some(PROTECTED_TIMES_OPEN));
}

/// `POST /refresh`, which is on the disk when ours answers, beside the Koa server's, which writes nothing.
fn refresh(clients: &Clients) {
    let (beside_us, temporary) = (Path::new(env!("CARGO_TARGET_TMPDIR")), env::temp_dir());
    println!(
        "until a page is on the disk: {:.2} ms (SQLite), {:.2} ms (PostgreSQL)",
        disk_ms(beside_us),
        disk_ms(&temporary)
    );
    let koa = Server::koa();
    let ours = Server::on_sqlite();
    let sqlite = Comparison::measure(
        "POST /refresh on SQLite",
        "requests/s",
        ROUNDS,
        [
            ("authcli-server", &mut || refreshes_per_second(clients, &ours)),
            ("Koa", &mut || refreshes_per_second(clients, &koa)),
        ],
    );
    sqlite.print(Relation::TimesAtLeast, Some(SQLITE_TIMES_KOA));
    drop(ours);

    if Cluster::programs().is_none() {
        println!("POST /refresh on PostgreSQL: left out, PostgreSQL is not installed\n");
        return;
    }
    let cluster = Cluster::start();
    let ours = Server::on_postgres(&clients.wait_for(durable_database(&cluster)));
    let postgres = Comparison::measure(
        "POST /refresh on PostgreSQL",
        "requests/s",
        ROUNDS,
        [
            ("authcli-server", &mut || refreshes_per_second(clients, &ours)),
            ("Koa", &mut || refreshes_per_second(clients, &koa)),
        ],
    );
    postgres.print(Relation::TimesAtLeast, Some(POSTGRES_TIMES_KOA));
}

/// How long the slowest hundredth of the calls takes while others try passwords.
fn flood(clients: &Clients) {
    let server = Server::on_sqlite();
    let header = header(clients, &server);
    let protected = format!("{}/protected", server.url);
    let calm = Load { script: Script::Paced, connections: CALM_CONNECTIONS, seconds: SECONDS };
    // Around the calm load.
    let flood = Load { script: Script::Flood, connections: FLOOD_CONNECTIONS, seconds: SECONDS + 2 };
    let mut logins = Vec::new();
    let comparison = Comparison::measure(
        "p99 of GET /protected",
        "ms",
        ROUNDS,
        [
            ("during 200 wrong logins", &mut || {
                let before = server.connections();
                let mut flood = flood.start(&server.url, &[]);
                eventually("the flood is there", || server.connections() >= before + FLOOD_CONNECTIONS);
                let p99 = calm.run(&protected, &header).p99_ms;
                assert!(flood.is_running(), "the flood was over too early");
                let flood = flood.finish();
                // Else the flood never reached what it is meant to occupy.
                assert!(flood.heard_per_second > 1.0, "the passwords were not looked at: {flood:?}");
                logins.push(flood.heard_per_second);
                // Hashes that nobody waits for any more are finished all the same.
                eventually("the server has got over it", || server.is_idle());
                p99
            }),
            ("at rest", &mut || calm.run(&protected, &header).p99_ms),
        ],
    );
    comparison.print(Relation::TimesAtMost, Some(FLOODED_TIMES_CALM));
    println!("wrong passwords hashed a second: {logins:.0?}");
}

/// What the server holds in memory while sessions are refreshed again and again.
fn memory(clients: &Clients) {
    let server = Server::on_sqlite();
    let started = Instant::now();
    let sessions = clients.log_in(&server, CONNECTIONS);
    let mut sessions = clients.refresh(&server, sessions, SETTLED);
    let settled = server.resident_mb();
    println!("{:>57} {settled:>10.2}", format!("MB after {SETTLED} refreshes"));
    let mut last = settled;
    let step = (ALL_REFRESHES - SETTLED) / LOOKS;
    for refreshes in
        iter::successors(Some(SETTLED + step), |done| Some(done + step)).take_while(|&n| n <= ALL_REFRESHES)
    {
        sessions = clients.refresh(&server, sessions, step);
        last = server.resident_mb();
        let seconds = started.elapsed().as_secs();
        println!("{:>57} {last:>10.2}", format!("MB after {refreshes} refreshes, {seconds} s"));
    }
    let verdict = if last - settled < GROWTH_MB { "" } else { "   MISSED" };
    println!("memory: {:.1} MB more (target < {GROWTH_MB} MB){verdict}", last - settled);
}

/// The `Authorization` header of a new session.
fn header(clients: &Clients, server: &Server) -> Vec<String> {
    clients.log_in(server, 1).into_iter().map(|tokens| format!("Bearer {}", tokens.access)).collect()
}

/// Opens new sessions and refreshes them: where a load ends, the answers under way are lost, and with them the sessions.
fn refreshes_per_second(clients: &Clients, server: &Server) -> f64 {
    let tokens: Vec<String> = clients.log_in(server, CONNECTIONS).into_iter().map(|tokens| tokens.refresh).collect();
    let load = Load { script: Script::Refresh, connections: CONNECTIONS, seconds: SECONDS };
    load.run(&format!("{}/refresh", server.url), &tokens).per_second
}

/// Makes an empty database in a cluster that from now on waits for the disk, as one in real use does.
async fn durable_database(cluster: &Cluster) -> String {
    let database = cluster.database().await;
    let mut connection = connect(&database).await;
    sqlx::raw_sql("ALTER SYSTEM SET fsync = on").execute(&mut connection).await.unwrap();
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let reloaded = Instant::now();
    loop {
        let mut connection = connect(&database).await;
        let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        if fsync == "on" {
            return database;
        }
        assert!(reloaded.elapsed() < Duration::from_secs(10), "PostgreSQL does not read its settings again");
    }
}

/// The median of what it takes to write a page and have it on the disk.
fn disk_ms(directory: &Path) -> f64 {
    let mut file = NamedTempFile::new_in(directory).unwrap();
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            file.write_all(&[1; 4096]).unwrap();
            let started = Instant::now();
            file.as_file().sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// Waits until it is so.
fn eventually(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What else the machine does: figures of a busy one tell less.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").expect("the system tells its load");
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
