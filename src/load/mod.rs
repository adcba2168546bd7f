//! Many requests through one session.
//!
//! One [engine](run) is under all of it: so many workers at a time each take a [`Job`] from a [`Source`], send it, read
//! the answer, and hand what came of it to a [`Sink`]. The source decides what is sent and when, the sink what becomes
//! of it:
//!
//! | | source | sink |
//! |---|---|---|
//! | `burst` | [`Repeat`]: one request again and again, as fast as it goes or at a [`Pace`] | a [`Tally`] |
//! | `batch` | [`Lines`] of standard input, each a [`LineRequest`] | [`AnswerLine`]s, put in order by an [`outbox()`] |
//!
//! [`drive()`] runs it and writes the outbox's lines meanwhile; a [`Stop`] ends both before the source does.
//!
//! Memory is bounded whatever the source gives: a worker takes its next job when the sink has taken the last one, and
//! what is long takes its [`Place`] in one budget of bytes before it is read.

mod answer_line;
mod buckets;
mod cores;
mod drive;
mod engine;
mod line;
mod lines;
mod outbox;
mod pace;
mod repeat;
mod statistics;
mod stop;
mod timeline;

pub use self::answer_line::AnswerLine;
pub use self::buckets::Bucket;
pub use self::cores::files_beside_connections;
pub use self::drive::drive;
pub use self::engine::{Completed, Ended, Job, Kept, Manner, Sink, Source, run};
pub use self::line::{BadLine, LineRequest};
pub use self::lines::{Line, Lines, Turn};
pub use self::outbox::{Departures, Order, Outbox, Place, outbox};
pub use self::pace::Pace;
pub use self::repeat::Repeat;
pub use self::statistics::{Latencies, Report, Summary, Tally, milliseconds};
pub use self::stop::Stop;
pub use self::timeline::{Slot, Timeline};
