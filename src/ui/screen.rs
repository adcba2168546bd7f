//! What servers say, shown on a terminal: it must neither obey their escapes nor be filled with binary.

use authcli::session::Content;

use super::json;
use super::output::print;

/// JSON beyond this is shown as it comes: 1 MiB.
const LONGEST_PRETTY: usize = 1024 * 1024;

/// The body is not text, and standard output is a terminal.
#[derive(Debug, thiserror::Error)]
#[error("the body is binary, so it is not shown on a terminal")]
pub(crate) struct Binary;

/// Shows `content`; JSON, if it is that, indented, and in colours if they are wanted.
pub(crate) async fn show(mut content: Content, is_json: bool, color: bool) -> anyhow::Result<()> {
    let mut begun = Vec::new();
    let mut over = false;
    while !over && (begun.is_empty() || is_json && begun.len() <= LONGEST_PRETTY) {
        match content.chunk().await? {
            Some(chunk) => begun.extend_from_slice(&chunk),
            None => over = true,
        }
    }
    // As curl tells: text has no such byte.
    if begun.contains(&0) {
        return Err(Binary.into());
    }
    let mut filter = Printable::default();
    let text = filter.pass(&begun);
    if is_json
        && over
        && let Some(pretty) = json::pretty(&text, color)
    {
        print(pretty).await?;
        return Ok(());
    }
    print(text).await?;
    while let Some(chunk) = content.chunk().await? {
        print(filter.pass(&chunk)).await?;
    }
    print(filter.rest()).await?;
    Ok(())
}

/// Returns whether `media_type` is JSON's (RFC 8259 section 11, RFC 6839 section 3.1).
pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

/// Returns `text` without what a terminal would obey: control characters other than newline and tab.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|character| matches!(character, '\n' | '\t') || !character.is_control()).collect()
}

/// The same for bytes that come in pieces, of which a character may be cut in two.
#[derive(Default)]
struct Printable {
    cut: Vec<u8>,
}

impl Printable {
    fn pass(&mut self, bytes: &[u8]) -> String {
        let mut pending = std::mem::take(&mut self.cut);
        pending.extend_from_slice(bytes);
        let mut shown = String::with_capacity(pending.len());
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    shown.push_str(&printable(text));
                    break;
                }
                Err(error) => error,
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            shown.push_str(&printable(&String::from_utf8_lossy(valid)));
            let Some(bad) = error.error_len() else {
                self.cut = after.to_vec();
                break;
            };
            shown.push(char::REPLACEMENT_CHARACTER);
            rest = &after[bad..];
        }
        shown
    }

    /// Returns what stands for a character of which the end never came.
    fn rest(self) -> String {
        if self.cut.is_empty() { String::new() } else { char::REPLACEMENT_CHARACTER.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        assert_eq!(printable("a\u{1b}[31mb\r\n\tc\u{7}\u{9b}2J\u{7f}密\0"), "a[31mb\n\tc2J密");
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for (media_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("application/x-ndjson", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(is_json(media_type), expected, "{media_type}");
        }
    }

    proptest! {
        #[test]
        fn however_bytes_are_cut_they_are_shown_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64), at in 0_usize..64) {
            let whole = |pieces: &[&[u8]]| {
                let mut filter = Printable::default();
                let mut shown: String = pieces.iter().map(|piece| filter.pass(piece)).collect();
                shown.push_str(&filter.rest());
                shown
            };
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            let shown = whole(&[head, tail]);
            prop_assert_eq!(&shown, &whole(&[&bytes]));
            prop_assert_eq!(&shown, &printable(&String::from_utf8_lossy(&bytes)));
        }
    }
}
