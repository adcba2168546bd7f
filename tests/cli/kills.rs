//! `kill -9` at every moment of a refresh: the next call succeeds, without a login.
//!
//! Some processes are killed at a moment chosen by lot, spread over half as much again as a call takes; the others at a
//! chosen point, where the proxy holds them. The lot is cast from a seed that a failure prints; `KILLS_SEED` repeats it.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::support::{Cli, Fault, Point, Proxy, Running, Server, eventually};

const GET: &[&str] = &["get", "/protected"];
const BURST: &[&str] = &["burst", "-n", "100", "-c", "10"];

/// A user whom processes are taken from.
struct Victim {
    cli: Cli,
    proxy: Proxy,
    server: Server,
    session: Value,
    killed: Killed,
}

/// How many processes were killed, by what had been done when they were.
#[derive(Debug, Default)]
struct Killed {
    before_the_request: usize,
    between_request_and_save: usize,
    after_the_save: usize,
}

impl Victim {
    fn of_the_file_store() -> Self {
        let server = Server::start();
        let proxy = Proxy::to(&server.url);
        let cli = Cli::new(&proxy.url);
        cli.login();
        Self::new(cli, proxy, server)
    }

    #[cfg(target_os = "linux")]
    fn of(keyring: &crate::support::SecretService) -> Self {
        // A token in a keyring cannot be made older than it is; here each is at its end when it comes.
        let server = Server::with_access_ttl("1ms");
        let proxy = Proxy::to(&server.url);
        let cli = keyring.user(&proxy.url);
        cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "123456\n").expect(0);
        Self::new(cli, proxy, server)
    }

    fn new(cli: Cli, proxy: Proxy, server: Server) -> Self {
        let session = stamp(&cli)["session"].clone();
        Self { cli, proxy, server, session, killed: Killed::default() }
    }

    /// Starts a call that must refresh.
    fn start(&self, arguments: &[&str]) -> Running {
        if self.cli.entry().exists() {
            self.cli.let_pass(SignedDuration::from_mins(16));
        }
        self.cli.start(arguments)
    }

    /// Returns how long a call takes that nobody disturbs.
    fn life_of_a_call(&self) -> Duration {
        let life = || {
            self.slow_the_network_down();
            let call = self.start(GET);
            let since = Instant::now();
            call.finish().expect(0);
            since.elapsed()
        };
        let mut lives: Vec<Duration> = (0..5).map(|_| life()).collect();
        lives.sort();
        lives[lives.len() / 2]
    }

    /// So that a refresh spends some time on its way, as it does between machines.
    fn slow_the_network_down(&self) {
        self.proxy.break_refreshes([Fault::Delay(Duration::from_millis(10))]);
    }

    /// Kills a call after `time`.
    fn kill_after(&mut self, time: Duration) {
        self.slow_the_network_down();
        let before = self.progress();
        let call = self.start(GET);
        // No condition is waited for: any moment will do.
        std::thread::sleep(time);
        call.kill();
        self.note(before);
        self.stands();
    }

    /// Kills a call when its refresh, or the request after it, is at `point`.
    fn kill_at(&mut self, arguments: &[&str], path: &'static str, point: Point) {
        let hold = self.proxy.hold(path, point);
        let before = self.progress();
        let call = self.start(arguments);
        hold.wait();
        call.kill();
        self.note(before);
        drop(hold);
        self.stands();
    }

    /// Returns how many refreshes were asked for, and which generation is the last that was saved.
    fn progress(&self) -> (usize, u64) {
        (self.proxy.refreshes(), stamp(&self.cli)["generation"].as_u64().unwrap())
    }

    fn note(&mut self, before: (usize, u64)) {
        let now = self.progress();
        let count = match (now.0 > before.0, now.1 > before.1) {
            (_, true) => &mut self.killed.after_the_save,
            (true, false) => &mut self.killed.between_request_and_save,
            (false, false) => &mut self.killed.before_the_request,
        };
        *count += 1;
    }

    /// The next call succeeds in the same session, and the server takes nobody for a thief. That it comes to its end at
    /// all shows that the lock went with its holder.
    #[track_caller]
    fn stands(&self) {
        self.proxy.break_refreshes([]);
        self.cli.run(GET).expect(0).silent();
        assert_eq!(stamp(&self.cli)["session"], self.session);
        assert_eq!((self.server.reuses(), self.server.refused_refreshes()), (0, 0));
    }

    /// Kills so many calls at moments chosen by lot.
    fn kill_at_any_time(&mut self, rounds: u32) {
        let life = self.life_of_a_call();
        let seed = std::env::var("KILLS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
        let mut lot = Xoshiro256PlusPlus::seed_from_u64(seed);
        for round in 1..=rounds {
            let time = lot.random_range(Duration::ZERO..life * 3 / 2);
            told_if_it_fails(&format!("KILLS_SEED={seed}, round {round}: killed after {time:?} of {life:?}"));
            self.kill_after(time);
        }
        told_if_it_fails(&format!("{:?}", self.killed));
    }

    /// Kills calls at each of the points where a refresh can be held, so many times.
    fn kill_at_every_point(&mut self, arguments: &[&str], rounds: usize) {
        let points = [("/refresh", Point::Request), ("/refresh", Point::Answer), ("/refresh", Point::Body)];
        self.killed = Killed::default();
        for _ in 0..rounds {
            for (path, point) in points {
                self.kill_at(arguments, path, point);
            }
        }
        assert_eq!(self.killed.between_request_and_save, 3 * rounds, "{:?}", self.killed);
        (0..rounds).for_each(|_| self.kill_at(arguments, "/protected", Point::Request));
        assert_eq!(self.killed.after_the_save, rounds, "{:?}", self.killed);
    }
}

#[expect(clippy::print_stdout, reason = "the standard output of a test is shown if it fails")]
fn told_if_it_fails(line: &str) {
    println!("{line}");
}

fn stamp(cli: &Cli) -> Value {
    serde_json::from_slice(&std::fs::read(cli.entry().with_extension("stamp")).unwrap()).unwrap()
}

#[test]
fn two_hundred_processes_killed_at_any_time() {
    let mut victim = Victim::of_the_file_store();
    victim.kill_at_any_time(200);
    let Killed { before_the_request, between_request_and_save, after_the_save } = victim.killed;
    assert!(
        before_the_request >= 5 && between_request_and_save >= 5 && after_the_save >= 5,
        "every phase is hit: {:?}",
        victim.killed
    );
}

#[test]
fn processes_killed_at_every_point_of_a_refresh() {
    Victim::of_the_file_store().kill_at_every_point(GET, 10);
}

#[test]
fn bursts_killed_at_every_point_of_a_refresh() {
    Victim::of_the_file_store().kill_at_every_point(BURST, 3);
}

#[test]
fn a_request_of_a_killed_process_that_arrives_late_is_no_theft() {
    // It arrives after the next process has repeated it, and after the tokens were refreshed twice more.
    for refreshes_between in [0, 2] {
        let victim = Victim::of_the_file_store();
        let hold = victim.proxy.hold("/refresh", Point::Request);
        let call = victim.start(GET);
        hold.wait();
        call.kill();
        victim.stands();
        for _ in 0..refreshes_between {
            victim.cli.run(&["refresh"]).expect(0);
        }
        let refreshes = victim.server.refreshes();
        hold.release();
        eventually("the late request arrives", || victim.server.refreshes() > refreshes);
        assert_eq!(victim.server.reuses(), 0);
        victim.cli.run(&["refresh"]).expect(0);
        victim.cli.run(GET).expect(0).silent();
    }
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn fifty_processes_killed_at_any_time_on_a_secret_service() {
    let keyring = crate::support::SecretService::start();
    let mut victim = Victim::of(&keyring);
    victim.kill_at_any_time(50);
    victim.kill_at_every_point(GET, 2);
}
