//! Where the API begins: asked of the cloud, believed only on the host that was asked.

use crate::origin::{Origin, is_plain};
use crate::responses::BaseUrlResponse;

/// The paths below the base address, in this order.
pub(super) const PATHS: [&str; 2] = ["/api/harmony/base-url", "/harmony/base-url"];

/// The root that the cloud names, if it is on the host that was asked.
pub(super) fn root(response: &BaseUrlResponse, asked: &Origin) -> Option<String> {
    let root = response.full_url.as_ref().unwrap_or(&response.base_url);
    let origin = Origin::exact(root)?;
    if origin != *asked {
        log::warn!(
            "the cloud at {asked} says that its API is at {origin}; that is another host, and is \
             not used"
        );
        return None;
    }
    is_plain(root).then(|| root.trim_end_matches('/').to_owned())
}

/// The root when the cloud names none.
pub(super) fn default_root(base_url: &str) -> String {
    if base_url.ends_with("/api") {
        base_url.to_owned()
    } else {
        format!("{base_url}/api")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::responses::FromResponse;

    #[test]
    fn a_root_is_believed_on_its_own_host_only() {
        let asked = Origin::exact("https://cloud.example").unwrap();
        let cases = [
            (
                json!({"base_url": "https://cloud.example/api"}),
                Some("https://cloud.example/api"),
            ),
            (
                json!({
                    "base_url": "https://cloud.example/api",
                    "changes_path": "/",
                    "full_url": "https://cloud.example:443/v2/"
                }),
                Some("https://cloud.example:443/v2"),
            ),
            (
                json!({"base_url": "https://cloud.example/api", "full_url": null}),
                Some("https://cloud.example/api"),
            ),
            (
                json!({"base_url": "https://cloud.example.evil.example/api"}),
                None,
            ),
            (
                json!({"base_url": "https://cloud.example@evil.example/api"}),
                None,
            ),
            (json!({"base_url": "https://evil.example/api"}), None),
            (json!({"base_url": "http://cloud.example/api"}), None),
            (json!({"base_url": "https://cloud.example:8443/api"}), None),
            (json!({"base_url": "https://cloud.example/api?x"}), None),
            (json!({"base_url": "https://cloud.example/a b"}), None),
            (json!({"base_url": "/api"}), None),
            (json!({"base_url": 7}), None),
            (json!({}), None),
            (json!([]), None),
        ];
        for (answer, expected) in cases {
            let found = BaseUrlResponse::from_response(answer.clone())
                .ok()
                .and_then(|response| root(&response, &asked));
            assert_eq!(found.as_deref(), expected, "{answer}");
        }
        assert_eq!(default_root("https://c.example"), "https://c.example/api");
        assert_eq!(
            default_root("https://c.example/api"),
            "https://c.example/api"
        );
    }
}
