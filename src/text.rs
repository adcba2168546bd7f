//! Text of others, for people.

/// Returns `text` fit for a line of a terminal: a server, a file or an argument may hold escapes, which a terminal must not
/// obey. Control characters are left out.
pub fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// The same, but no more than the first `longest` characters of what would be shown.
pub fn printable_start(text: &str, longest: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        let text = "a\u{1b}[31mb\r\n\tc\u{7}\u{9b}2J\u{7f}密\0";
        assert_eq!(printable(text), "a[31mbc2J密");
        assert_eq!(printable_start(text, 6), "a[31mb");
    }
}
