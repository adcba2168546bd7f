//! Who else may read or change what is kept.

use std::path::Path;

use super::Finding;
use crate::outcome::Exit;

const CHECK: &str = "permissions";

/// Checks the files in the configuration `directory`. Tokens are for their owner alone; the rest may be read, but whoever
/// may write it can send the tokens elsewhere.
#[cfg(unix)]
pub(super) fn check(directory: &Path) -> Finding {
    use std::os::unix::fs::MetadataExt as _;

    let credentials = directory.join("credentials");
    let public = [directory.to_owned(), directory.join("config.toml")].map(|path| (path, 0o022));
    let mut private = vec![(credentials.clone(), 0o077)];
    if let Ok(entries) = std::fs::read_dir(&credentials) {
        private.extend(entries.flatten().map(|entry| (entry.path(), 0o077)));
    }
    let own = rustix::process::geteuid().as_raw();
    for (path, forbidden) in public.into_iter().chain(private) {
        // What is not there is made private. A link is judged by what it leads to, but among the tokens the store refuses it.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let shown = path.display();
        if metadata.uid() != own {
            let what = format!("{shown} belongs to another user (id {})", metadata.uid());
            let hint = "run authcli as that user, or point AUTHCLI_CONFIG_DIR at a directory of your own";
            return Finding::fail(CHECK, Exit::Store, what, hint);
        }
        if metadata.mode() & forbidden != 0 {
            let what = format!("{shown} is open to others (mode {:o})", metadata.mode() & 0o777);
            let change = if forbidden == 0o022 { "go-w" } else { "go=" };
            let hint = format!("run `chmod {change} {shown}`, and if others use this machine, log in anew");
            return Finding::fail(CHECK, Exit::Store, what, hint);
        }
    }
    Finding::ok(CHECK, format!("{} is private", directory.display()))
}

/// Other systems keep others out of a user's directories by themselves.
#[cfg(not(unix))]
pub(super) fn check(directory: &Path) -> Finding {
    Finding::ok(CHECK, format!("{} is the user's own", directory.display()))
}
