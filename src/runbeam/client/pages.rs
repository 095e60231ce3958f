//! Lists that come in pages: one call a page, up to a bound.

use serde_json::Value;

use super::request::Request;
use super::transport::Transport;
use crate::runbeam::answers::Answer;
use crate::runbeam::error::RunbeamError;
use crate::runbeam::fields::Fields;

/// More pages than a list that means well has.
const MOST_PAGES: usize = 200;
/// The longest query of a page that is followed, in bytes.
const LONGEST_QUERY: usize = 1024;

/// The elements of all pages.
pub(super) async fn all<T: Answer>(
    transport: &Transport,
    call: &'static str,
    path: &str,
    token: &str,
) -> Result<Vec<T>, RunbeamError> {
    let mut elements = Vec::new();
    let mut request = Request::get(call, path);
    let mut seen = Vec::new();
    loop {
        let answer = transport.call(&request, token).await?;
        let (page, next) = read(answer).map_err(|problem| request.unusable(problem))?;
        elements.extend(page);
        let Some(query) = next else {
            return Ok(elements);
        };
        if seen.len() + 1 >= MOST_PAGES || seen.contains(&query) {
            return Err(request.unusable("has pages without end".to_owned()));
        }
        request = Request::get(call, format!("{path}?{query}"));
        seen.push(query);
    }
}

/// The elements of a page, and the query of the next one.
fn read<T: Answer>(answer: Value) -> Result<(Vec<T>, Option<String>), String> {
    let mut fields = Fields::of(answer, "list")?;
    let Some(Value::Array(data)) = fields.take("data") else {
        return Err("has no array `data`".to_owned());
    };
    let next = next(&mut fields);
    let elements: Result<Vec<T>, String> = data.into_iter().map(T::read).collect();
    Ok((elements?, next))
}

/// Of the link to the next page only the query is used, so that no answer leads to another place.
/// Else the numbers of the pages tell.
fn next(fields: &mut Fields) -> Option<String> {
    let links = fields
        .take("links")
        .and_then(|links| Fields::of(links, "").ok());
    if let Some(next) = links.and_then(|mut links| links.text("next")) {
        let (_, query) = next.split_once('?')?;
        let query = query.split('#').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte);
        return (!query.is_empty() && query.len() <= LONGEST_QUERY && query.bytes().all(plain))
            .then(|| query.to_owned());
    }
    let mut meta = Fields::of(fields.take("meta")?, "").ok()?;
    let (current, last) = (meta.number("current_page")?, meta.number("last_page")?);
    (current < last).then(|| format!("page={}", current + 1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::runbeam::ConfigChange;

    #[test]
    fn the_next_page() {
        let cases = [
            (json!({"data": []}), None),
            (
                json!({"data": [], "links": {"next": null}, "meta": {"current_page": 1, "last_page": 1}}),
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
            let (elements, next) = read::<ConfigChange>(answer.clone()).unwrap();
            assert!(elements.is_empty());
            assert_eq!(next.as_deref(), expected, "{answer}");
        }
        for bad in [
            json!({}),
            json!([]),
            json!({"data": {}}),
            json!({"data": [1]}),
            json!({"data": [{}]}),
        ] {
            assert!(read::<ConfigChange>(bad).is_err());
        }
    }
}
