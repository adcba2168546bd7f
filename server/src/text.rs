//! What is said to people.

/// Returns a number of things: `1 session`, `2 sessions`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
