//! Secrets in all the spellings that they might be found in.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What must not be found: its name and a spelling of it.
#[derive(Default)]
pub(super) struct Secrets(pub(super) Vec<(String, Vec<u8>)>);

impl Secrets {
    /// Adds a secret as it is, its digest, and both in hexadecimal and base64, at any place within a longer text.
    pub(super) fn add(&mut self, name: &str, secret: &[u8]) {
        assert!(secret.len() >= 16, "{name} would be found by chance");
        for bytes in [secret, digest(&SHA256, secret).as_ref()] {
            let hex = hexadecimal(bytes);
            let mut spellings = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
            for before in 0..3 {
                let padded = [&[0; 2][..before], bytes].concat();
                for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    let text = alphabet.encode(&padded);
                    // The letters at both ends depend on what stands beside the secret.
                    let first = (before * 8).div_ceil(6);
                    let last = padded.len() * 8 / 6;
                    spellings.push(text.as_bytes()[first..last].to_vec());
                }
            }
            self.0.extend(spellings.into_iter().map(|spelling| (name.to_owned(), spelling)));
        }
    }

    pub(super) fn add_refresh_token(&mut self, token: &str) {
        let tag = token.rsplit('.').next().unwrap();
        self.add("a refresh token", token.as_bytes());
        self.add("the tag of a refresh token", tag.as_bytes());
        self.add("the tag of a refresh token", &URL_SAFE_NO_PAD.decode(tag).unwrap());
    }

    /// Returns the names of the secrets that are in `text`.
    pub(super) fn found_in(&self, text: &[u8]) -> BTreeSet<&str> {
        let pair = |bytes: &[u8]| usize::from(bytes[0]) * 256 + usize::from(bytes[1]);
        let mut by_start: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
        for (number, (_, spelling)) in self.0.iter().enumerate() {
            by_start[pair(spelling)].push(number);
        }
        let mut found = BTreeSet::new();
        for (at, start) in text.windows(2).enumerate() {
            for &number in &by_start[pair(start)] {
                let (name, spelling) = &self.0[number];
                if text[at..].starts_with(spelling) {
                    found.insert(name.as_str());
                }
            }
        }
        found
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
