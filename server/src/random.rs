//! Randomness for secrets and names, from the one cryptography library of the workspace.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Returns `N` random bytes fit for keys.
///
/// # Panics
///
/// If the system has no random numbers to give.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no answer of this server can be right")]
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random numbers");
    bytes
}

/// Returns a random word of `N` bytes in base64url.
pub fn word<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}
