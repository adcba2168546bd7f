//! What an error says, for people.

use std::error::Error;
use std::iter;

use super::TransportError;
use crate::text::printable;

/// Returns the messages of `error` and its causes, each once. What an HTTP client says between the first and the last
/// cause tells people nothing, so of its errors only the last is kept. Servers and file names may put escapes into their
/// texts, which a terminal must not obey: control characters are left out.
pub fn messages(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut chain = iter::successors(Some(error), |error| (**error).source()).peekable();
    while let Some(cause) = chain.next() {
        if (cause.is::<reqwest::Error>() || cause.is::<TransportError>()) && chain.peek().is_some() {
            let Some(root) = chain.last() else { break };
            told.push(printable(&root.to_string()));
            break;
        }
        let text = printable(&cause.to_string());
        if told.last() != Some(&text) {
            told.push(text);
        }
    }
    told
}
