//! Whoever signs out there is signed out here: back-channel logout, from the provider to the edge.

use std::collections::BTreeMap;

use serde_json::json;

use super::server::{JWT, OidcProvider, SECRET, access_token};
use super::{edge, status};
use crate::support::ports::Port;
use crate::support::request::Request;
use crate::support::{Response, Upstream};

const LOGOUT: &str = r#"
[endpoints.logout]
service = "backchannel-logout"
options = { path_prefix = "/logout", step = "step", client_id = "web" }
[pipelines.logout]
networks = ["public"]
endpoints = ["logout"]
middleware = []
"#;
const CALLBACK: &str = "https://web.example/callback";

/// The browser of somebody who uses the client `web`.
struct Browser<'a> {
    provider: &'a OidcProvider,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn open(provider: &'a OidcProvider) -> Self {
        Self { provider, cookies: BTreeMap::new() }
    }

    fn send(&mut self, method: &str, target: &str, form: &str) -> Response {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let response = Request::new(self.provider.node.port(), method, target)
            .header("Cookie", pairs.collect::<Vec<_>>().join("; "))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form)
            .send();
        for cookie in response.fields("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            match rest.split(';').next().unwrap_or_default() {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        response
    }

    /// Signs in, and lets the client fetch its access token.
    fn sign_in(&mut self) -> String {
        let mut target = format!(
            "/auth?client_id=web&response_type=code&scope=openid%20read&resource={JWT}\
             &redirect_uri={CALLBACK}"
        );
        let code = loop {
            let response = self.send("GET", &target, "");
            let location = response.field("location");
            let location = location.unwrap_or_else(|| panic!("{target}: {}", response.text()));
            match location.strip_prefix(CALLBACK) {
                Some(query) => {
                    let mut pairs = query[1..].split('&');
                    let code = pairs.find_map(|pair| pair.strip_prefix("code="));
                    break code.unwrap_or_else(|| panic!("no code: {query}")).to_owned();
                }
                None => target = location.replace(&self.provider.issuer(), ""),
            }
        };
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&resource={JWT}"
        );
        access_token(&self.provider.form("web", "/token", &form).send().json())
    }

    fn sign_out(&mut self) {
        let page = self.send("GET", "/session/end", "").text();
        let secret = page.split("name=\"xsrf\" value=\"").nth(1).unwrap();
        let secret = secret.split('"').next().unwrap();
        let form = format!("xsrf={secret}&logout=yes");
        let done = self.send("POST", "/session/end/confirm", &form);
        assert_eq!(done.status, 303, "{}", done.text());
    }
}

#[test]
fn who_signs_out_there_is_signed_out_here() {
    // Of this session alone, or of all that the subject has.
    for (of_session, others) in [(true, 200), (false, 401)] {
        let (port, upstream) = (Port::claim(), Upstream::start());
        let clients = json!([{
            "client_id": "web",
            "client_secret": SECRET,
            "redirect_uris": [CALLBACK],
            "backchannel_logout_uri": format!("http://127.0.0.1:{port}/logout"),
            "backchannel_logout_session_required": of_session,
        }]);
        let Some(provider) = OidcProvider::with_clients(&clients) else { return };
        let edge = edge("jwt-auth", &provider.issuer(), "", &upstream)
            .and(LOGOUT)
            .on_ports(port, Port::claim())
            .start();
        let (mut one, mut two) = (Browser::open(&provider), Browser::open(&provider));
        let (first, second) = (one.sign_in(), two.sign_in());
        let machine = provider.token(JWT);
        let all = [&first, &second, &machine];
        assert_eq!(all.map(|token| status(&edge, token)), [200; 3]);
        one.sign_out();
        assert_eq!(all.map(|token| status(&edge, token)), [401, others, 200], "{of_session}");
    }
}
