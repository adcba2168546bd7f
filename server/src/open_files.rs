//! How many connections there is room for: each is an open file, and a server that has none left can open no database
//! either.

/// What is kept back for everything else: the database's connections and files, the log, the listener.
const FILES_KEPT_BACK: u64 = 128;
/// What each thread that serves opens for itself.
const FILES_OF_A_THREAD: u64 = 4;
/// More than any server of this kind needs, on each thread that serves: what actix-web would take by itself.
const MOST_FOR_EACH: u64 = 25_000;

/// Returns how many connections each of the threads that serve may hold. Who comes when all are taken waits until one is
/// free.
pub(crate) fn connections_for_each(threads: usize) -> usize {
    let threads = u64::try_from(threads).unwrap_or(u64::MAX).max(1);
    shared(open_file_limit(), threads)
}

fn shared(files: u64, threads: u64) -> usize {
    // A limit that is very low still lets somebody in.
    let kept_back = FILES_KEPT_BACK + FILES_OF_A_THREAD * threads;
    let each = files.saturating_sub(kept_back).max(files / 4) / threads;
    usize::try_from(each.clamp(1, MOST_FOR_EACH)).unwrap_or(usize::MAX)
}

/// Raises the open-file limit of this process to what the system allows: shells and service managers start programs with
/// a low one that each may raise.
#[cfg(unix)]
pub(crate) fn raise_open_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// What a system takes that states no maximum and refuses it (macOS).
    const MODEST: u64 = 10_240;

    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_err() && limit.current.is_some_and(|current| current < MODEST) {
        // Refused as well, what is set now is what counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(MODEST), ..limit });
    }
}

#[cfg(unix)]
fn open_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit};

    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(not(unix))]
pub(crate) fn raise_open_file_limit() {}

#[cfg(not(unix))]
fn open_file_limit() -> u64 {
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_to_the_database() {
        assert_eq!(shared(1024, 2), 444);
        assert_eq!(shared(524_288, 8), 25_000);
        assert_eq!(shared(64, 1), 16);
        assert_eq!(shared(2, 16), 1);
        assert_eq!(shared(u64::MAX, 1), 25_000);
    }
}
