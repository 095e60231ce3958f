//! Lists that come in pages: one call a page, up to a bound.

use serde_json::Value;

use super::request::Request;
use super::transport::Transport;
use crate::error::RunbeamError;
use crate::fields::Fields;
use crate::resources::{PaginatedResponse, PaginationLinks, PaginationMeta};
use crate::responses::FromResponse;

/// The most pages of a list that are followed.
const MAX_PAGES: usize = 200;
/// The longest query of a page that is followed, in bytes.
const MAX_QUERY: usize = 1024;

/// The elements of all pages.
pub(super) async fn all<T: FromResponse>(
    transport: &Transport,
    call: &'static str,
    path: &str,
    token: &str,
) -> Result<PaginatedResponse<T>, RunbeamError> {
    let mut elements = Vec::new();
    let mut request = Request::get(call, path);
    let mut followed = Vec::new();
    loop {
        let response = transport.call(&request, token).await?;
        let page = read(response).map_err(|problem| request.malformed(problem))?;
        let next = next(&page);
        elements.extend(page.data);
        let Some(query) = next else {
            return Ok(PaginatedResponse {
                data: elements,
                links: page.links,
                meta: page.meta,
            });
        };
        if followed.len() + 1 >= MAX_PAGES || followed.contains(&query) {
            return Err(request.malformed("has pages without end".to_owned()));
        }
        request = Request::get(call, format!("{path}?{query}"));
        followed.push(query);
    }
}

/// One page.
fn read<T: FromResponse>(response: Value) -> Result<PaginatedResponse<T>, String> {
    let mut fields = Fields::from_object(response, "list")?;
    let Some(Value::Array(data)) = fields.take("data") else {
        return Err("has no array `data`".to_owned());
    };
    Ok(PaginatedResponse {
        data: data
            .into_iter()
            .map(T::from_response)
            .collect::<Result<_, _>>()?,
        links: fields.take("links").and_then(PaginationLinks::read),
        meta: fields.take("meta").and_then(PaginationMeta::read),
    })
}

/// The query of the next page. Of the link to it only the query is used, so that no response leads
/// to another place; without links, the numbers of the pages decide.
fn next<T>(page: &PaginatedResponse<T>) -> Option<String> {
    if let Some(next) = page.links.as_ref().and_then(|links| links.next.as_ref()) {
        let (_, query) = next.split_once('?')?;
        let query = query.split('#').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte);
        return (!query.is_empty() && query.len() <= MAX_QUERY && query.bytes().all(plain))
            .then(|| query.to_owned());
    }
    let meta = page.meta.as_ref()?;
    (meta.current_page < meta.last_page).then(|| format!("page={}", meta.current_page + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Change;

    #[test]
    fn the_next_page() {
        let cases = [
            (json!({"data": []}), None),
            (
                json!({
                    "data": [],
                    "links": {"next": null},
                    "meta": {"current_page": 1, "last_page": 1}
                }),
                None,
            ),
            (
                json!({"data": [], "meta": {"current_page": 1, "last_page": 2}}),
                Some("page=2"),
            ),
            (
                json!({"data": [], "links": {"next": "https://elsewhere.example/x?page=2&a=b#c"}}),
                Some("page=2&a=b"),
            ),
            (
                json!({"data": [], "links": {"next": "https://elsewhere.example/x"}}),
                None,
            ),
            (json!({"data": [], "links": {"next": "/x?a b"}}), None),
            (json!({"data": [], "links": [], "meta": []}), None),
        ];
        for (answer, expected) in cases {
            let page = read::<Change>(answer.clone()).unwrap();
            assert!(page.data.is_empty());
            assert_eq!(next(&page).as_deref(), expected, "{answer}");
        }
        for bad in [
            json!({}),
            json!([]),
            json!({"data": {}}),
            json!({"data": [1]}),
            json!({"data": [{}]}),
        ] {
            assert!(read::<Change>(bad).is_err());
        }
    }
}
