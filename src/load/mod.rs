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
//! Memory is bounded whatever the source gives: a worker takes its next job when the sink has taken the last one.

mod answer_line;
mod buckets;
mod engine;
mod line;
mod lines;
mod outbox;
mod pace;
mod repeat;
mod statistics;
mod timeline;

pub use self::answer_line::AnswerLine;
pub use self::buckets::Bucket;
pub use self::engine::{Completed, Ended, Job, Kept, Manner, Sink, Source, run};
pub use self::line::{BadLine, LineRequest};
pub use self::lines::{Line, Lines};
pub use self::outbox::{Departures, Order, Outbox, outbox};
pub use self::pace::Pace;
pub use self::repeat::Repeat;
pub use self::statistics::{Latencies, Report, Summary, Tally, milliseconds};
pub use self::timeline::{Slot, Timeline};
