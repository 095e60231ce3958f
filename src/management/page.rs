//! `GET /`: the status page, for a browser. One file that asks nobody else for anything; what it
//! shows, it fetches from `/status`.
//!
//! Its policy lets in this style and this script and nothing else, by their hashes. The page puts
//! text into the document as text only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use ring::digest::{SHA256, digest};

use super::response::ApiResponse;

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page, put together.
pub(super) struct Page {
    html: String,
    policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        Self {
            html: FRAME
                .replace("/*style*/", STYLE)
                .replace("/*script*/", SCRIPT),
            policy: format!(
                "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src \
                 data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                 require-trusted-types-for 'script'; trusted-types 'none'",
                hash(STYLE),
                hash(SCRIPT)
            ),
        }
    }

    pub(super) fn answer(&self) -> ApiResponse {
        ApiResponse::text(
            StatusCode::OK,
            "text/html; charset=utf-8",
            self.html.clone(),
        )
        .with(header::CONTENT_SECURITY_POLICY, &self.policy)
        .with(header::X_FRAME_OPTIONS, "DENY")
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(header::REFERRER_POLICY, "no-referrer")
    }
}

fn hash(text: &str) -> String {
    format!(
        "sha256-{}",
        STANDARD.encode(digest(&SHA256, text.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_file_that_asks_for_nothing() {
        let html = Page::new().html;
        assert!(!html.contains("/*style*/") && !html.contains("/*script*/"));
        for forbidden in [
            "http://",
            "https://",
            "src=",
            "url(",
            "@import",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            let allowed = usize::from(forbidden == "http://");
            // The name space of SVG is a name, not an address.
            assert_eq!(html.matches(forbidden).count(), allowed, "{forbidden}");
        }
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(html.matches("<style>").count(), 1);
    }
}
