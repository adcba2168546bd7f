//! Runs one case, and checks after every step what must hold whatever happened.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;

use super::process::{Process, login};
use super::server::Pair;
use super::steps::{Answer, Event, Step, Then};
use super::universe::{Role, Universe, name, pair};
use super::verdicts::{self, Wants};
use crate::gate::core::Outcome;
use crate::gate::{RefreshGate, Stamp, Work};
use crate::token::{Generation, TokenSet};

/// More turns than anybody takes from the end of one operation to the next one.
const BETWEEN_OPERATIONS: usize = 6;

struct Running {
    process: Process,
    gate: RefreshGate,
    /// What its snapshot showed last.
    seen: Generation,
    /// What each of its tasks used last.
    used: HashMap<u8, Generation>,
    closing: Option<JoinHandle<()>>,
}

struct Waiter {
    process: usize,
    task: u8,
    wants: Wants,
    /// What was current when it asked.
    before: Generation,
    jumps: usize,
    asked: JoinHandle<(Outcome, Timestamp)>,
}

pub(super) struct Case {
    universe: Arc<Universe>,
    running: Vec<Running>,
    waiters: Vec<Waiter>,
    people: Vec<(Process, JoinHandle<()>)>,
    processes: usize,
    jumps: usize,
    /// By how much the clock was set back in all.
    set_back: Duration,
}

impl Case {
    /// Somebody has just logged in, and one process runs.
    pub(super) fn new(turns: Vec<u8>) -> Self {
        let universe = Universe::new(turns);
        let mut state = universe.state();
        let first = state.server.log_in();
        let tokens = login(first, Generation::FIRST, state.now());
        state.save(0, &Role::Login, &tokens);
        state.set_stamp(0, &Stamp::of(&tokens));
        drop(state);
        let mut case = Self {
            universe,
            running: Vec::new(),
            waiters: Vec::new(),
            people: Vec::new(),
            processes: 0,
            jumps: 0,
            set_back: Duration::ZERO,
        };
        case.start(Work::Short);
        case
    }

    /// Does all steps. Returns the first rule that was broken, with the log.
    pub(super) async fn run(mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.happens(&step.event).await;
            match step.then {
                Then::Settle => self.settle().await,
                Then::Turns(turns) => self.turns(turns.into()).await,
            }
            self.check().await?;
        }
        self.all_faults_end().await?;
        self.a_new_process_finds_the_session().await
    }

    async fn turns(&self, turns: usize) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// Lets everybody run until all wait for something that does not come by itself.
    async fn settle(&self) {
        let mut last = None;
        loop {
            self.turns(BETWEEN_OPERATIONS).await;
            let activity = Some(self.universe.activity.load(Ordering::Relaxed));
            if activity == last {
                return;
            }
            last = activity;
        }
    }

    async fn happens(&mut self, event: &Event) {
        self.universe.state().note(format!("-- {event:?}"));
        match *event {
            Event::WantLive { process, task } => self.ask(process, task, |_| Some(Wants::Live)),
            Event::WantValidFor { process, task, seconds } => {
                self.ask(process, task, |_| Some(Wants::ValidFor(Duration::from_secs(seconds.into()))));
            }
            Event::WantNewer { process, task } => {
                self.ask(process, task, |running| Some(Wants::Newer(running.gate.snapshot().generation)));
            }
            Event::Refused { process, task } => {
                self.ask(process, task, |running| running.used.get(&task).copied().map(Wants::AfterRefusal));
            }
            Event::TimePasses { milliseconds } => {
                tokio::time::advance(Duration::from_millis(milliseconds.into())).await;
            }
            Event::ClockJumps { seconds } => {
                self.jumps += 1;
                self.set_back += Duration::from_secs(u64::from(seconds.min(0).unsigned_abs()));
                self.universe.state().jump(SignedDuration::from_secs(seconds.into()));
            }
            Event::Answer(ref answer) => self.universe.state().answer(answer),
            Event::TaskLeaves { process, task } => {
                if let Some(number) = self.find(process).map(|index| self.running[index].process.number) {
                    self.waiters.retain(|waiter| {
                        let leaves = waiter.process == number && waiter.task == task;
                        if leaves {
                            waiter.asked.abort();
                        }
                        !leaves
                    });
                }
            }
            Event::ProcessStarts { long_work } => self.start(if long_work { Work::Long } else { Work::Short }),
            Event::ProcessDies { process } => {
                if let Some(index) = self.find(process) {
                    self.end(index);
                }
            }
            Event::ProcessCloses { process } => {
                if let Some(index) = self.find(process) {
                    let running = &mut self.running[index];
                    let gate = running.gate.clone();
                    // Whether or not all could be saved: the program ends then.
                    running.closing.get_or_insert_with(|| tokio::spawn(async move { drop(gate.close().await) }));
                }
            }
            Event::LogIn => {
                self.processes += 1;
                let person = Process::new(&self.universe, self.processes, Role::Login);
                self.people.push((person.clone(), tokio::spawn(person.log_in())));
            }
            Event::LogOut { process, server_hears } => {
                if let Some(index) = self.find(process) {
                    let known = TokenSet::clone(&self.running[index].gate.snapshot());
                    self.processes += 1;
                    let person = Process::new(&self.universe, self.processes, Role::Logout(known.session.clone()));
                    self.people.push((person.clone(), tokio::spawn(person.log_out(known, server_hears))));
                }
            }
            Event::PersonGivesUp => {
                if !self.people.is_empty() {
                    let (person, work) = self.people.remove(0);
                    person.die();
                    work.abort();
                }
            }
            Event::Saves(saves) => self.universe.state().saves = saves,
            Event::StoreShows(shows) => self.universe.state().show(shows),
        }
    }

    fn find(&self, process: u8) -> Option<usize> {
        (!self.running.is_empty()).then(|| usize::from(process) % self.running.len())
    }

    /// Starts a process with what it finds stored, as a command does.
    fn start(&mut self, work: Work) {
        self.processes += 1;
        let state = self.universe.state();
        let stamp = state.stamp.clone();
        let found = state.load(self.processes);
        drop(state);
        let Some(tokens) = found else { return };
        if stamp.and_then(|stamp| stamp.about(&tokens)).is_some_and(|stamp| stamp.ended.is_some()) {
            return;
        }
        let process = Process::new(&self.universe, self.processes, Role::Gate(tokens.session.clone()));
        self.universe.state().note(format!("process {} starts with {}", process.number, name(&tokens)));
        let seen = tokens.generation;
        let gate = RefreshGate::new(tokens, process.ports(), work);
        if work == Work::Long {
            gate.keep_ahead();
        }
        self.running.push(Running { process, gate, seen, used: HashMap::new(), closing: None });
    }

    fn end(&mut self, index: usize) {
        let Running { process, .. } = self.running.remove(index);
        process.die();
        self.waiters.retain(|waiter| {
            if waiter.process == process.number {
                waiter.asked.abort();
            }
            waiter.process != process.number
        });
    }

    fn ask(&mut self, process: u8, task: u8, wants: impl FnOnce(&Running) -> Option<Wants>) {
        let Some(index) = self.find(process) else { return };
        let running = &self.running[index];
        let number = running.process.number;
        let is_busy = self.waiters.iter().any(|waiter| waiter.process == number && waiter.task == task);
        let Some(wants) = wants(running).filter(|_| !is_busy && running.closing.is_none()) else { return };
        let gate = running.gate.clone();
        let universe = Arc::clone(&self.universe);
        let before = gate.snapshot().generation;
        let asked = tokio::spawn(async move {
            let outcome = match wants {
                Wants::Live => gate.current().await,
                Wants::ValidFor(least) => gate.valid_for(least).await,
                Wants::Newer(old) => gate.refresh_now(old).await,
                Wants::AfterRefusal(refused) => gate.refresh_after(refused).await,
            };
            (outcome, universe.now())
        });
        self.waiters.push(Waiter { process: number, task, wants, before, jumps: self.jumps, asked });
    }

    async fn check(&mut self) -> Result<(), String> {
        for running in &mut self.running {
            let snapshot = running.gate.snapshot();
            if snapshot.generation < running.seen || Role::Gate(snapshot.session.clone()) != running.process.role {
                let rule = format!("process {} fell back to {}", running.process.number, name(&snapshot));
                self.universe.state().broken(rule);
            }
            running.seen = snapshot.generation;
        }
        let (done, waiting) =
            std::mem::take(&mut self.waiters).into_iter().partition(|waiter| waiter.asked.is_finished());
        self.waiters = waiting;
        for waiter in done {
            self.answered(waiter).await;
        }
        while let Some(index) =
            self.running.iter().position(|running| running.closing.as_ref().is_some_and(JoinHandle::is_finished))
        {
            self.end(index);
        }
        self.people.retain(|(_, person)| !person.is_finished());
        self.verdict()
    }

    fn verdict(&self) -> Result<(), String> {
        let state = self.universe.state();
        match state.broken.first() {
            Some(rule) => Err(format!("{rule}\n{}", state.log.join("\n"))),
            None => Ok(()),
        }
    }

    async fn answered(&mut self, waiter: Waiter) {
        let Waiter { process, task, wants, before, jumps, asked } = waiter;
        let universe = Arc::clone(&self.universe);
        let Some(running) = self.running.iter_mut().find(|running| running.process.number == process) else { return };
        let who = format!("task {task} of process {process} ({wants:?})");
        let (outcome, at) = match asked.await {
            Ok(answer) => answer,
            Err(error) => return universe.state().broken(format!("{who} ended without an answer: {error}")),
        };
        match outcome {
            Ok(tokens) => {
                running.used.insert(task, tokens.generation);
                // Where the clock jumped since it asked, nobody can say what was alive then.
                let at = (jumps == self.jumps).then_some(at);
                verdicts::on_tokens(&mut universe.state(), &who, &running.process.role, wants, before, at, &tokens);
            }
            Err(error) => verdicts::on_error(&mut universe.state(), &who, &running.gate.snapshot(), &error),
        }
    }

    /// From here on everything works. Within minutes everyone has an answer.
    async fn all_faults_end(&mut self) -> Result<(), String> {
        self.universe.state().all_faults_end();
        for _ in 0..120 {
            self.settle().await;
            self.universe.state().answer(&Answer::Rules { lifetime: Some(100) });
            self.settle().await;
            self.check().await?;
            if self.is_quiet() {
                return Ok(());
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        self.universe.state().broken("somebody still waits after two minutes");
        self.verdict()
    }

    fn is_quiet(&self) -> bool {
        let state = self.universe.state();
        let idle = self.waiters.is_empty() && self.people.is_empty() && state.holder.is_none();
        idle && !state.is_anything_on_the_wire() && self.running.iter().all(|running| running.closing.is_none())
    }

    /// No session is lost that neither a person nor the server ended.
    async fn a_new_process_finds_the_session(mut self) -> Result<(), String> {
        let standing = self.universe.state().standing;
        let Some(Pair { login, .. }) = standing.filter(|pair| !self.universe.state().server.is_revoked(pair.login))
        else {
            return Ok(());
        };
        self.universe.state().note(format!("-- a new process looks for login {login}"));
        // Past every failure that somebody remembers, also where the clock was set back since.
        tokio::time::advance(Duration::from_mins(11) + self.set_back).await;
        self.running.clear();
        self.start(Work::Short);
        if self.running.is_empty() {
            self.universe.state().broken(format!("login {login} is lost: nothing is stored"));
            return self.verdict();
        }
        let old = self.running[0].gate.snapshot().generation;
        self.running[0].used.insert(0, old);
        self.ask(0, 0, |_| Some(Wants::Newer(old)));
        self.all_faults_end().await?;
        if pair(&self.running[0].gate.snapshot()).login != login || self.running[0].gate.snapshot().generation <= old {
            self.universe.state().broken(format!("login {login} is lost: it could not be renewed"));
        }
        self.verdict()
    }
}
