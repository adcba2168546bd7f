//! Addresses, on either side of the proxy.

use url::Url;

use super::Addresses;

impl Addresses<'_> {
    /// Returns the server's address for one of the proxy's own.
    pub(super) fn servers(&self, text: &str) -> Option<String> {
        let rest = text.strip_prefix(&self.own)?;
        if !(rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            return None;
        }
        let replaced = format!("{}{}", self.server.url(), rest.strip_prefix('/').unwrap_or(rest));
        (!self.access.gives_away(replaced.as_bytes())).then_some(replaced)
    }

    /// Returns the proxy's address for a reference to something under the server's; `None` if it leads elsewhere.
    pub(super) fn proxys(&self, reference: &str, asked: &Url) -> Option<String> {
        let url = asked.join(reference).ok()?;
        let base = self.server.url();
        if url.origin() != base.origin() {
            return elsewhere(reference, &url);
        }
        let path = url.path();
        let rest = match path.strip_prefix(base.path()) {
            Some(rest) => rest,
            None if base.path().strip_suffix('/') == Some(path) => "",
            None => return elsewhere(reference, &url),
        };
        let mut own = format!("{}/{rest}", self.own);
        for (mark, part) in [('?', url.query()), ('#', url.fragment())] {
            if let Some(part) = part {
                own.push(mark);
                own.push_str(part);
            }
        }
        Some(own)
    }

    /// Does the same with each `<reference>` of a `Link` (RFC 8288 section 3); quoted texts are left alone.
    pub(super) fn links(&self, text: &str, asked: &Url) -> String {
        let mut replaced = String::with_capacity(text.len());
        let (mut quoted, mut rest) = (false, text);
        while let Some(next) = rest.chars().next() {
            let reference = rest.split_once('>').map(|(reference, _)| reference).filter(|_| next == '<' && !quoted);
            if let Some(reference) = reference
                && let Some(own) = self.proxys(&reference[1..], asked)
            {
                replaced.push('<');
                replaced.push_str(&own);
                rest = &rest[reference.len()..];
                continue;
            }
            quoted ^= next == '"';
            // What a backslash escapes ends no quoted text.
            let taken = if quoted && next == '\\' { 2 } else { 1 };
            let taken = rest.char_indices().nth(taken).map_or(rest.len(), |(at, _)| at);
            replaced.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        replaced
    }

    /// Returns a cookie of the server's (RFC 6265 section 4.1) as one of the proxy's: whatever its domain, its client has it
    /// from here; its path is the proxy's; and what may pass over encrypted connections alone may pass over this one, which
    /// nobody else can listen to.
    pub(super) fn proxys_cookie(&self, cookie: &str) -> String {
        let mut replaced = String::with_capacity(cookie.len());
        for (number, part) in cookie.split(';').enumerate() {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "domain" | "secure" if number > 0 => {}
                "path" if number > 0 => replaced.extend(["; Path=", &self.proxys_path(value.trim())]),
                _ if number > 0 => replaced.extend([";", part]),
                _ => replaced.push_str(part),
            }
        }
        replaced
    }

    fn proxys_path(&self, path: &str) -> String {
        let (base, prefix) = (self.server.url().path().trim_end_matches('/'), self.access.prefix());
        let is_under = |path: &str, other: &str| {
            path.strip_prefix(other)
                .is_some_and(|rest| rest.is_empty() || other.ends_with('/') || rest.starts_with('/'))
        };
        // Any other text is no path, and the client takes its own (section 5.2.4).
        if !path.starts_with('/') {
            return path.to_owned();
        }
        if is_under(path, base) {
            return format!("{prefix}{}", &path[base.len()..]);
        }
        // One above the server's own path is for all of that.
        if is_under(base, path) { format!("{prefix}/") } else { path.to_owned() }
    }
}

/// A reference without an origin would lead to the proxy, where there is nothing of the kind.
fn elsewhere(reference: &str, url: &Url) -> Option<String> {
    (Url::parse(reference).is_err()).then(|| url.to_string())
}
