//! What the program wrote in any test is looked through for secrets.
//!
//! Only for what can be told from its shape, and for passwords that tests have typed: `secrets` looks for all spellings.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Passwords that tests gave to the program, those of the demonstration aside.
static TYPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
const DEMONSTRATION: [&str; 2] = ["123456", "password2"];
/// A shorter one may be in a log by chance, as a word or a number.
const SHORTEST: usize = 8;

/// Remembers a password, so that no log may hold it from now on.
pub(crate) fn remember(password: &str) {
    let password = password.trim_end();
    if password.len() >= SHORTEST {
        TYPED.lock().unwrap_or_else(PoisonError::into_inner).insert(password.to_owned());
    }
}

/// Fails the test if a secret is in `text`, and says which kind, not which one.
pub(crate) fn expect_none_in(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Some(found) = found_in(&text) {
        panic!("the program wrote {found}");
    }
}

fn found_in(text: &str) -> Option<&'static str> {
    let is_part_of_word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    for word in text.split(|letter| !is_part_of_word(letter)) {
        if word.match_indices("acrt.1.").any(|(at, _)| is_refresh_token(&word[at..])) {
            return Some("a refresh token with its tag");
        }
        if word.match_indices("eyJ").any(|(at, _)| is_signed(&word[at..])) {
            return Some("an access token with its signature");
        }
    }
    let typed = TYPED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_word = |at: usize, password: &str| {
        let around = [text[..at].chars().next_back(), text[at + password.len()..].chars().next()];
        !around.into_iter().flatten().any(is_part_of_word)
    };
    let mut passwords = typed.iter().map(String::as_str).chain(DEMONSTRATION);
    let holds = |password: &str| text.match_indices(password).any(|(at, _)| is_word(at, password));
    passwords.any(holds).then_some("a password")
}

/// `acrt.1.session.generation.tag`, whole.
fn is_refresh_token(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('.').map(str::len).collect();
    matches!(lengths.as_slice(), [4, 1, 22, 11, tag, ..] if *tag >= 43)
}

/// Three parts, the last as long as an Ed25519 signature.
fn is_signed(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('.').map(str::len).collect();
    matches!(lengths.as_slice(), [_, _, signature, ..] if *signature >= 86)
}

#[test]
fn secrets_are_found_by_their_shape() {
    let part = |length: usize| "A1".repeat(length).split_at(length).0.to_owned();
    let refresh = format!("acrt.1.{}.{}.{}", part(22), part(11), part(43));
    let access = format!("eyJ{}.{}.{}", part(40), part(90), part(86));
    for leaky in [&refresh, &access, &format!("token=\"{refresh}\""), &format!("x{access}\n"), "a 123456", "password2"]
    {
        assert!(found_in(leaky).is_some(), "{leaky}");
    }
    remember("typed in a test of leaks\n");
    assert_eq!(found_in("name=typed in a test of leaks"), Some("a password"));
    let no_tag = &refresh[..refresh.len() - 1];
    for harmless in [no_tag, &access[..access.len() - 1], "acrt.1.", "1234567", "eyJ", "", "0.123456ms"] {
        assert_eq!(found_in(harmless), None, "{harmless}");
    }
}
