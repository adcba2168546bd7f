//! What the system allows this process.

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
