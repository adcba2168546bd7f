//! Processes that come and go, and what they came to.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;
use rustix::process::{Pid, Signal, kill_process};

use super::support::read_aside;
use super::{User, World};

/// What a process does.
#[derive(Debug)]
struct Deed {
    arguments: &'static [&'static str],
    /// Whether its reader goes away after a line.
    unread: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug)]
struct Fate {
    signal: Signal,
    after: Duration,
}

/// Starts process after process, each when the one before has ended.
pub(super) fn come_and_go(world: &World, user: &User, mut lot: Xoshiro256PlusPlus) {
    while !world.is_over() {
        let deed = &DEEDS[lot.random_range(0..DEEDS.len())];
        let fate = SIGNALS
            .get(lot.random_range(0..SIGNALS.len() * 4))
            .map(|signal| Fate { signal: *signal, after: lot.random_range(Duration::ZERO..LONGEST_LIFE_OF_A_VICTIM) });
        live(world, user, deed, fate);
        thread::sleep(lot.random_range(Duration::ZERO..LONGEST_PAUSE));
    }
}

fn live(world: &World, user: &User, deed: &Deed, fate: Option<Fate>) {
    let mut command = user.cli.command_of(env!("CARGO_BIN_EXE_authcli"));
    // What `token` prints is for nobody.
    command.args(deed.arguments).stdout(if deed.unread { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().unwrap();
    let stderr = read_aside(child.stderr.take().unwrap());
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || BufReader::new(stdout).read_line(&mut String::new()));
    }
    let end = wait(&mut child, fate);
    let mut tally = world.tally();
    tally.processes += 1;
    match fate {
        Some(Fate { signal: Signal::KILL, .. }) => tally.kills += 1,
        Some(_) => tally.signals += 1,
        None => {}
    }
    let Some(status) = end else {
        tally.stuck += 1;
        drop(tally);
        let where_it_is = where_it_is(&child);
        let _ = child.kill();
        let _ = child.wait();
        let said = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
        return world.broken(user, &format!("{deed:?}, {fate:?} is stuck\n{where_it_is}\nit said: {said}"));
    };
    *tally.ends.entry(name(status)).or_default() += 1;
    drop(tally);
    let said = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    if status.code() == Some(8) && user.has_lost_its_store(world) {
        return;
    }
    if is_sound(status, fate) && !said.contains("panicked") {
        return;
    }
    let mut tally = world.tally();
    match status.code() {
        Some(7) => tally.lost += 1,
        _ => tally.broken += 1,
    }
    drop(tally);
    world.broken(user, &format!("{deed:?}, {fate:?} ended with {status}\nit said: {said}"));
}

/// Waits for the end, and brings it about if that is the process's fate; `None` if it does not come.
fn wait(child: &mut Child, fate: Option<Fate>) -> Option<ExitStatus> {
    let since = Instant::now();
    let mut fate = fate;
    while since.elapsed() < LONGEST_LIFE {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if let Some(Fate { signal, .. }) = fate.take_if(|fate| fate.after <= since.elapsed()) {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Returns whether a process may end like this in such weather: done, without an answer, with a gateway's answer, or by
/// the signal that it was sent.
fn is_sound(status: ExitStatus, fate: Option<Fate>) -> bool {
    match (status.code(), status.signal()) {
        (Some(0 | 5 | 6), _) => true,
        (Some(code), _) => fate.is_some_and(|fate| code == 128 + fate.signal.as_raw()),
        // Sent before the program listened, or one that nobody can listen to.
        (None, Some(signal)) => fate.is_some_and(|fate| signal == fate.signal.as_raw()),
        (None, None) => false,
    }
}

fn name(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// Returns what the system tells of a process that does not end.
fn where_it_is(child: &Child) -> String {
    let files = ["status", "wchan", "stack"].map(|name| format!("/proc/{}/{name}", child.id()));
    files.map(|file| format!("{file}:\n{}", std::fs::read_to_string(&file).unwrap_or_default())).join("\n")
}

const DEEDS: [Deed; 8] = [
    Deed { arguments: &["get", "/protected"], unread: false },
    Deed { arguments: &["get", "/protected", "--timeout", "10s"], unread: false },
    Deed { arguments: &["get", "/protected", "--timeout", "50ms"], unread: false },
    Deed { arguments: &["token"], unread: false },
    Deed { arguments: &["token", "--min-valid", "1s"], unread: false },
    Deed { arguments: &["refresh"], unread: false },
    Deed { arguments: &["burst", "-n", "20"], unread: false },
    Deed { arguments: &["burst", "-n", "200", "-c", "20"], unread: true },
];
/// A quarter of all processes get one.
const SIGNALS: [Signal; 4] = [Signal::KILL, Signal::KILL, Signal::TERM, Signal::INT];
/// Twice as long as most live.
const LONGEST_LIFE_OF_A_VICTIM: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// When a process is called stuck.
const LONGEST_LIFE: Duration = Duration::from_mins(1);
