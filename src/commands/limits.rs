//! What the system allows this process.

use authcli::load::files_beside_connections;

use crate::ui::Printer;

/// Files that the program needs beside its connections and what takes care of them.
pub(super) const FILES_KEPT_BACK: u64 = 32;

/// Returns how many requests at a time the open-file limit allows, `wanted` at most. Who `asked` for more is told.
pub(crate) fn at_a_time(wanted: u64, asked: bool, printer: &Printer) -> u64 {
    let kept_back = FILES_KEPT_BACK + files_beside_connections(wanted);
    let allowed = wanted.min(open_file_limit().saturating_sub(kept_back).max(1));
    if asked && allowed < wanted {
        printer.warn(&format!("the open-file limit allows {allowed} requests at a time"));
    }
    allowed
}

/// Returns how many files may be open, after raising that to what the system allows.
#[cfg(unix)]
pub(crate) fn open_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Some systems refuse the maximum they state; then what is set now is what counts.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
pub(crate) fn open_file_limit() -> u64 {
    u64::MAX
}
