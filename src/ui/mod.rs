//! What people and programs see: data on standard output, everything else on standard error.

pub(crate) mod download;
mod json;
pub(crate) mod output;
mod plot;
mod printer;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod report;
pub(crate) mod screen;
pub(crate) mod summary;

pub(crate) use self::printer::Printer;
