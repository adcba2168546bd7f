//! JSON for people: indented, and in colours if they are wanted.
//!
//! It works on the text, not on values: numbers keep their digits, keys their order, strings their escapes.

use serde::de::IgnoredAny;

const INDENT: &str = "  ";
const KEY: &str = "34;1";
const STRING: &str = "32";
const NUMBER: &str = "36";
const WORD: &str = "35";

/// Returns `text` indented and with a newline at its end, or `None` if it is not one JSON document.
pub(super) fn pretty(text: &str, color: bool) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut writer = Writer { out: String::with_capacity(text.len() * 2), depth: 0, color };
    let mut rest = text.trim_ascii_start();
    while let Some(first) = rest.chars().next() {
        // The text is JSON, so every cut below lies behind an ASCII character.
        let (token, after) = rest.split_at(length_of_token(rest));
        let after = after.trim_ascii_start();
        match first {
            '{' | '[' if after.starts_with(['}', ']']) => {
                writer.out.push(first);
                writer.out.push_str(&after[..1]);
                rest = after[1..].trim_ascii_start();
                continue;
            }
            '{' | '[' => {
                writer.out.push(first);
                writer.depth += 1;
                writer.line();
            }
            '}' | ']' => {
                writer.depth = writer.depth.saturating_sub(1);
                writer.line();
                writer.out.push(first);
            }
            ',' => {
                writer.out.push(',');
                writer.line();
            }
            ':' => writer.out.push_str(": "),
            '"' if after.starts_with(':') => writer.painted(KEY, token),
            '"' => writer.painted(STRING, token),
            '-' | '0'..='9' => writer.painted(NUMBER, token),
            _ => writer.painted(WORD, token),
        }
        rest = after;
    }
    writer.out.push('\n');
    Some(writer.out)
}

/// Returns how long the token is that `text` begins with.
fn length_of_token(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes[0] {
        b'"' => {
            let mut escaped = false;
            let end = bytes[1..].iter().position(|byte| {
                let ends = *byte == b'"' && !escaped;
                escaped = *byte == b'\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 2)
        }
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        _ => text.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(text.len()),
    }
}

struct Writer {
    out: String,
    depth: usize,
    color: bool,
}

impl Writer {
    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.depth {
            self.out.push_str(INDENT);
        }
    }

    fn painted(&mut self, code: &str, token: &str) {
        if self.color {
            self.out.extend(["\u{1b}[", code, "m", token, "\u{1b}[0m"]);
        } else {
            self.out.push_str(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_indented_and_nothing_else_of_it_changes() {
        let text =
            r#" {"b":[1.0,-2e99,12345678901234567890,{}, [ ] ],"a":"x\"y\\","a":{"k":null,"密":"\u00e9 : , {"}} "#;
        assert_snapshot!(pretty(text, false).unwrap(), @r#"
        {
          "b": [
            1.0,
            -2e99,
            12345678901234567890,
            {},
            []
          ],
          "a": "x\"y\\",
          "a": {
            "k": null,
            "密": "\u00e9 : , {"
          }
        }
        "#);
        assert_eq!(pretty("7", false).unwrap(), "7\n");
        assert_eq!(pretty("[]", false).unwrap(), "[]\n");
    }

    #[test]
    fn colours_tell_keys_strings_numbers_and_words_apart() {
        assert_eq!(
            pretty(r#"{"k":["s",1,true]}"#, true).unwrap(),
            "{\n  \u{1b}[34;1m\"k\"\u{1b}[0m: [\n    \u{1b}[32m\"s\"\u{1b}[0m,\n    \u{1b}[36m1\u{1b}[0m,\n    \u{1b}[35mtrue\u{1b}[0m\n  ]\n}\n"
        );
    }

    #[test]
    fn what_is_no_json_is_left_alone() {
        for text in ["", "{", "{} {}", "{'a':1}", "nul", "\"a", "<html>"] {
            assert_eq!(pretty(text, false), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_json_library_writes(
            keys in prop::collection::vec("\\PC{0,8}", 0..5),
            numbers in prop::collection::vec(any::<f64>(), 0..5),
        ) {
            let value = serde_json::json!({"keys": keys, "numbers": numbers, "nested": [[], {}, [null, {"x": keys}]]});
            let shown = pretty(&value.to_string(), false).unwrap();
            prop_assert_eq!(shown, format!("{}\n", serde_json::to_string_pretty(&value).unwrap()));
        }
    }
}
