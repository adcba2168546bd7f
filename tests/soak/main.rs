//! Bad weather for minutes: a session on a file, one on a Secret Service, and all that may go wrong at once.
//!
//! Processes come and go all the time, some of them killed; the network between them and the server breaks; the server
//! is killed and comes back. All the while, and at the end, this must hold:
//!
//! - no process ends with a lost session (7), a store that failed it (8, unless its daemon had crashed), a fault of its
//!   own (1) or a panic;
//! - none is stuck;
//! - the server takes nobody for a thief;
//! - once the weather is fine, each user's next call succeeds without a login.
//!
//! It runs for `SOAK_MINUTES` (10). Moments and faults are cast from `SOAK_SEED`, which is printed: the same seed gives
//! the same lots, though not the same machine. The first failure ends the run: what follows would only repeat it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what is broken here ends the run")]
#![expect(clippy::print_stdout, reason = "a program of its own, with a report on standard output")]

mod crowd;
#[expect(dead_code, unused_imports, reason = "the end-to-end tests need more of it")]
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod weather;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

use self::support::{Cli, Proxy, Server};
use self::tally::Tally;

/// What all threads share.
struct World {
    server: Mutex<Server>,
    proxy: Proxy,
    tally: Mutex<Tally>,
    over: AtomicBool,
    since: Instant,
    seed: u64,
}

/// One session, and where it is kept.
struct User {
    store: &'static str,
    cli: Cli,
    /// The daemon behind the store, which ends with the user.
    daemon: Option<Mutex<Daemon>>,
}

/// A daemon that may crash in such weather. That is no fault of ours, so it is started again, as a desktop does.
struct Daemon {
    #[cfg(target_os = "linux")]
    service: support::SecretService,
    /// When it was last started again.
    revived: Option<Instant>,
}

impl User {
    /// Returns whether the store was away lately, because its daemon crashed; brings it back.
    fn has_lost_its_store(&self, world: &World) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let mut daemon = daemon.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(target_os = "linux")]
        if daemon.service.has_crashed() {
            daemon.service.unlock();
            daemon.revived = Some(Instant::now());
            world.tally().crashes += 1;
            return true;
        }
        // Whoever was turned away meanwhile may be told late.
        daemon.revived.is_some_and(|revived| revived.elapsed() < Duration::from_secs(15))
    }
}

fn main() -> ExitCode {
    let minutes: f64 = setting("SOAK_MINUTES").unwrap_or(10.0);
    let seed = setting("SOAK_SEED").unwrap_or_else(rand::random);
    println!("SOAK_MINUTES={minutes} SOAK_SEED={seed}");
    let world = World::new(seed);
    let users = world.users();
    let length = Duration::try_from_secs_f64(minutes * 60.0).expect("SOAK_MINUTES is a number of minutes");
    thread::scope(|scope| {
        let world = &world;
        for (number, user) in users.iter().cycle().take(users.len() * PROCESSES_OF_A_USER).enumerate() {
            scope.spawn(move || world.or_over(|| crowd::come_and_go(world, user, world.lot(number as u64))));
        }
        scope.spawn(|| world.or_over(|| weather::server(world, world.lot(1000))));
        weather::network(world, world.lot(1001));
        world.report_every_minute(length);
        world.over.store(true, Ordering::SeqCst);
    });
    world.final_calls(&users);
    println!("{}", world.tally().summary(&world.server(), world.since.elapsed()));
    if world.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl World {
    fn new(seed: u64) -> Self {
        let server = Server::with_access_ttl(ACCESS_TTL);
        let proxy = Proxy::to(&server.url);
        let (server, tally) = (Mutex::new(server), Mutex::new(Tally::default()));
        Self { server, proxy, tally, over: AtomicBool::new(false), since: Instant::now(), seed }
    }

    /// Logs the users in, the last time that anybody does.
    fn users(&self) -> Vec<User> {
        let file = User { store: "file", cli: Cli::new(&self.proxy.url), daemon: None };
        let users: Vec<User> = [file].into_iter().chain(user_of_a_keyring(&self.proxy.url)).collect();
        for user in &users {
            user.cli.run_with_input(&["login", "-u", "admin", "--password-stdin"], "123456\n").expect(0);
        }
        users
    }

    /// A lot of its own for each thread.
    fn lot(&self, thread: u64) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.seed.wrapping_add(thread))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Ends the run for all if `work` panics.
    fn or_over(&self, work: impl FnOnce()) {
        struct Over<'a>(&'a World);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.over.store(true, Ordering::SeqCst);
                }
            }
        }
        let _over = Over(self);
        work();
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what must not happen, with all that is known of it, and ends the run. Nothing of this holds a secret.
    fn broken(&self, user: &User, what: &str) {
        let stamp = std::fs::read_to_string(user.cli.entry().with_extension("stamp")).unwrap_or_default();
        println!("BROKEN after {:?}, {} store: {what}\nstamp: {stamp}", self.since.elapsed(), user.store);
        self.over.store(true, Ordering::SeqCst);
    }

    fn report_every_minute(&self, length: Duration) {
        let mut minute = 1;
        while !self.is_over() && self.since.elapsed() < length {
            thread::sleep(Duration::from_millis(200));
            if self.since.elapsed() >= Duration::from_mins(1) * minute {
                println!("minute {minute}: {}", self.tally().line(&self.server()));
                minute += 1;
                if !self.is_sound() {
                    self.over.store(true, Ordering::SeqCst);
                }
            }
        }
    }

    fn is_sound(&self) -> bool {
        let (tally, server) = (self.tally(), self.server());
        tally.is_sound() && server.reuses() == 0
    }

    /// Fine weather: every session is as good as new.
    fn final_calls(&self, users: &[User]) {
        self.proxy.break_refreshes([]);
        for user in users {
            user.has_lost_its_store(self);
            // A failure is remembered for a second, and one that a process was killed in is repeated: nothing else may
            // come before the call succeeds.
            let last = Instant::now();
            let output = loop {
                let output = user.cli.run(&["get", "/protected"]);
                if output.code != Some(6) || last.elapsed() > Duration::from_secs(5) {
                    break output;
                }
            };
            if output.code != Some(0) {
                self.tally().lost += 1;
                self.broken(user, &format!("the last call ended with {:?}: {}", output.code, output.stderr));
            }
            println!("{} store: the last call ended with {:?}", user.store, output.code);
        }
    }
}

/// A user of a Secret Service, where its programs are.
#[cfg(target_os = "linux")]
fn user_of_a_keyring(server: &str) -> Option<User> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |program: &str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let needed = ["dbus-daemon", "gnome-keyring-daemon", "secret-tool"];
    let missing: Vec<&str> = needed.into_iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        println!("no Secret Service ({} missing): on the file store alone", missing.join(", "));
        return None;
    }
    let service = support::SecretService::start();
    let cli = service.user(server);
    Some(User { store: "keyring", cli, daemon: Some(Mutex::new(Daemon { service, revived: None })) })
}

#[cfg(not(target_os = "linux"))]
fn user_of_a_keyring(_server: &str) -> Option<User> {
    println!("no Secret Service on this system: on the file store alone");
    None
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Short, so that nearly every process has to refresh or to adopt.
const ACCESS_TTL: &str = "500ms";
const PROCESSES_OF_A_USER: usize = 3;
