//! What can happen to processes that share a credential.

use proptest::prelude::*;

/// One thing that happens, and how far everybody runs before the next one does.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) event: Event,
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// Until all wait.
    Settle,
    /// This many turns: the next event finds everyone at some await in between.
    Turns(u8),
}

/// Processes and tasks are numbers; those that do not exist stand for one that does.
#[derive(Clone, Debug)]
pub(super) enum Event {
    WantLive {
        process: u8,
        task: u8,
    },
    WantValidFor {
        process: u8,
        task: u8,
        seconds: u16,
    },
    WantNewer {
        process: u8,
        task: u8,
    },
    /// The server refused the token that the task used last.
    Refused {
        process: u8,
        task: u8,
    },
    TimePasses {
        milliseconds: u32,
    },
    ClockJumps {
        seconds: i32,
    },
    /// The oldest renewal on the wire.
    Answer(Answer),
    /// The task goes away while it waits.
    TaskLeaves {
        process: u8,
        task: u8,
    },
    ProcessStarts {
        long_work: bool,
    },
    ProcessDies {
        process: u8,
    },
    ProcessCloses {
        process: u8,
    },
    LogIn,
    LogOut {
        process: u8,
        server_hears: bool,
    },
    /// The oldest login or logout that has not come to its end is cut off.
    PersonGivesUp,
    Saves(Saves),
    StoreShows(Shows),
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// What the server's rules say, with an access token that lives for so many seconds, or nobody knows how long.
    Rules {
        lifetime: Option<u16>,
    },
    /// The same, but the answer is lost on its way.
    Lost,
    /// The same, but it comes neither now nor later, nor does the connection break.
    SilentlyLost,
    /// The server never sees it.
    Away {
        retry_after: Option<u16>,
    },
    Misconfigured,
    /// Nothing comes, and the server never sees it.
    Silence,
    /// The server ended the session for reasons of its own.
    Revoked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saves {
    Succeed,
    Fail,
    /// They say so, but the entry is written.
    FailButWrite,
    /// And that is known before the request is sent.
    FailForeseeably,
}

/// What the store shows to all but those who write to it from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    All,
    /// Nothing that is written from now on.
    NothingNew,
    /// Not even what was written last.
    NotTheLast,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((event(), then()).prop_map(|(event, then)| Step { event, then }), 1..60)
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![3 => Just(Then::Settle), 2 => (0..24_u8).prop_map(Then::Turns)]
}

fn event() -> impl Strategy<Value = Event> {
    let process = || 0..4_u8;
    let task = || 0..3_u8;
    let who = || (process(), task());
    // No step of time below the longest pause between two looks at the lock: the gate draws those at random, and so a
    // case stays the same case when it is run again.
    let time = prop_oneof![
        Just(150_u32),
        Just(1_100),
        Just(5_000),
        Just(16_000),
        Just(31_000),
        Just(46_000),
        Just(95_000),
        Just(110_000),
        Just(3_600_000)
    ];
    let jump =
        prop_oneof![Just(-3_i32), Just(-97), Just(-3_600), Just(-86_400), Just(3), Just(97), Just(3_600), Just(86_400)];
    prop_oneof![
        10 => who().prop_map(|(process, task)| Event::WantLive { process, task }),
        3 => (who(), prop_oneof![Just(1_u16), Just(60), Just(1_000)])
            .prop_map(|((process, task), seconds)| Event::WantValidFor { process, task, seconds }),
        4 => who().prop_map(|(process, task)| Event::WantNewer { process, task }),
        12 => who().prop_map(|(process, task)| Event::Refused { process, task }),
        14 => time.prop_map(|milliseconds| Event::TimePasses { milliseconds }),
        4 => jump.prop_map(|seconds| Event::ClockJumps { seconds }),
        18 => answer().prop_map(Event::Answer),
        1 => who().prop_map(|(process, task)| Event::TaskLeaves { process, task }),
        5 => any::<bool>().prop_map(|long_work| Event::ProcessStarts { long_work }),
        4 => process().prop_map(|process| Event::ProcessDies { process }),
        1 => process().prop_map(|process| Event::ProcessCloses { process }),
        2 => Just(Event::LogIn),
        1 => (process(), any::<bool>()).prop_map(|(process, server_hears)| Event::LogOut { process, server_hears }),
        1 => Just(Event::PersonGivesUp),
        4 => saves().prop_map(Event::Saves),
        3 => prop_oneof![Just(Shows::All), Just(Shows::NothingNew), Just(Shows::NotTheLast)].prop_map(Event::StoreShows),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let lifetime = prop_oneof![4 => Just(Some(100)), 1 => Just(Some(2)), 1 => Just(Some(3_600)), 1 => Just(None)];
    prop_oneof![
        12 => lifetime.prop_map(|lifetime| Answer::Rules { lifetime }),
        4 => Just(Answer::Lost),
        2 => Just(Answer::SilentlyLost),
        2 => prop_oneof![Just(None), Just(Some(20)), Just(Some(3_600))].prop_map(|retry_after| Answer::Away { retry_after }),
        1 => Just(Answer::Misconfigured),
        1 => Just(Answer::Silence),
        1 => Just(Answer::Revoked),
    ]
}

fn saves() -> impl Strategy<Value = Saves> {
    prop_oneof![
        3 => Just(Saves::Succeed),
        2 => Just(Saves::Fail),
        1 => Just(Saves::FailButWrite),
        1 => Just(Saves::FailForeseeably),
    ]
}
