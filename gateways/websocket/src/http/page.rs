//! The page and its files, which are part of the program.

use std::hash::{DefaultHasher, Hash, Hasher};

/// One file.
pub(super) struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";

const FILES: [File; 15] = [
    File { path: "/", kind: HTML, content: include_bytes!("../../page/index.html") },
    File {
        path: "/style.css",
        kind: "text/css; charset=utf-8",
        content: include_bytes!("../../page/style.css"),
    },
    File { path: "/favicon.svg", kind: "image/svg+xml", content: include_bytes!("../../page/favicon.svg") },
    script("/app.js", include_bytes!("../../page/app.js")),
    script("/backplanes.js", include_bytes!("../../page/backplanes.js")),
    script("/chart.js", include_bytes!("../../page/chart.js")),
    script("/connection.js", include_bytes!("../../page/connection.js")),
    script("/feed.js", include_bytes!("../../page/feed.js")),
    script("/format.js", include_bytes!("../../page/format.js")),
    script("/history.js", include_bytes!("../../page/history.js")),
    script("/inspector.js", include_bytes!("../../page/inspector.js")),
    script("/publish.js", include_bytes!("../../page/publish.js")),
    script("/tables.js", include_bytes!("../../page/tables.js")),
    script("/topics.js", include_bytes!("../../page/topics.js")),
    script("/value.js", include_bytes!("../../page/value.js")),
];

const fn script(path: &'static str, content: &'static [u8]) -> File {
    File { path, kind: "text/javascript; charset=utf-8", content }
}

/// The file of a path. Paths are names here, and lead nowhere else.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// The head of an answer, but for the empty line behind it.
pub(super) fn head(status: &str, kind: &str, length: usize, more: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}X-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nConnection: close\r\n"
    )
}

impl File {
    /// The answer to whoever has called the gateway `host`, and knows the version `known`.
    pub(super) fn answer(&self, host: &str, known: Option<&str>, head_only: bool) -> Vec<u8> {
        let mut hasher = DefaultHasher::new();
        self.content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        // Some browsers do not take the WebSocket of the same host for part of 'self'.
        let more = format!(
            "ETag: {tag}\r\nCache-Control: no-cache\r\nContent-Security-Policy: default-src 'self'; \
             connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
        );
        let is_known =
            known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag || one.trim() == "*"));
        let status = if is_known { "304 Not Modified" } else { "200 OK" };
        let mut bytes = head(status, self.kind, self.content.len(), &more).into_bytes();
        bytes.extend_from_slice(b"\r\n");
        if !head_only && !is_known {
            bytes.extend_from_slice(self.content);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used, reason = "a test fails loudly")]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let absent: Vec<String> =
            names.filter(|name| name != "index.html" && find(&format!("/{name}")).is_none()).collect();
        assert!(absent.is_empty(), "not among FILES: {absent:?}");
    }
}
