//! What the stand-in cloud answers when all is well, and what it knows.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Recorded;

/// The id of every gateway that is authorized.
pub const GATEWAY_ID: &str = "01k8ek6h9aahhnrv3benret1nn";

pub(super) struct Api {
    url: String,
    jwk: Value,
    /// Machine tokens to come.
    tokens: Vec<String>,
    pub(super) issued: Vec<String>,
    /// How many of the issued ones are revoked: the oldest.
    revoked: usize,
    pub(super) token_ttl: i64,
    pub(super) renewal: bool,
    pub(super) page_size: usize,
    pub(super) base_url: Option<Value>,
    pub(super) login: Option<String>,
    changes: Vec<Change>,
    resources: BTreeMap<String, Vec<Value>>,
}

struct Change {
    id: String,
    change_type: String,
    toml: String,
    status: String,
}

type Answer = (u16, Value);

impl Api {
    pub(super) fn new(url: String, jwk: Value, tokens: Vec<String>) -> Self {
        let base_url = Some(json!({ "base_url": format!("{url}/api"), "changes_path": "/",
                "full_url": format!("{url}/api") }));
        let collections =
            ["gateways", "services", "endpoints", "backends", "pipelines", "transforms"];
        Self {
            url,
            jwk,
            tokens,
            issued: Vec::new(),
            revoked: 0,
            token_ttl: 30 * 86_400,
            renewal: true,
            page_size: usize::MAX,
            base_url,
            login: None,
            changes: Vec::new(),
            resources: collections.map(|name| (name.to_owned(), Vec::new())).into(),
        }
    }

    pub(super) fn add_change(&mut self, id: &str, change_type: &str, toml: &str) {
        self.changes.push(Change {
            id: id.into(),
            change_type: change_type.into(),
            toml: toml.into(),
            status: "pending".into(),
        });
    }

    pub(super) fn change_status(&self, id: &str) -> Option<String> {
        self.changes.iter().find(|change| change.id == id).map(|change| change.status.clone())
    }

    pub(super) fn revoke(&mut self) {
        self.revoked = self.issued.len();
    }

    pub(super) fn add(&mut self, collection: &str, resource: Value) {
        self.resources.get_mut(collection).expect("a collection that there is").push(resource);
    }

    pub(super) fn answer(&mut self, request: &Recorded) -> Answer {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/api/.well-known/jwks.json" {
            return (200, json!({ "keys": [self.jwk] }));
        }
        let path = path.strip_prefix("/api").unwrap_or(path);
        if let (Some(token), true) = (&self.login, path.starts_with("/cli/")) {
            let verification = format!("{}/v", self.url);
            let user = json!({ "id": "u1", "email": "op@example.com", "name": "Op" });
            return (
                200,
                if path == "/cli/start-login" {
                    json!({ "device_token": "dev1", "verification_url": verification,
                        "expires_in_seconds": 60.0 })
                } else {
                    json!({ "status": "authenticated", "token": token, "expires_in": 3600,
                        "user": user })
                },
            );
        }
        let token = request
            .authorization
            .as_deref()
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if token.is_empty() || self.issued[..self.revoked].iter().any(|revoked| revoked == token) {
            return (401, json!({ "message": "Unauthenticated." }));
        }
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", ["harmony", "base-url"]) => {
                self.base_url.clone().map_or_else(not_found, |answer| (200, answer))
            }
            ("POST", ["harmony", "authorize"]) => self.authorize(token, &request.body),
            ("GET", ["harmony", "changes"] | ["harmony", "changes", _]) => {
                let waiting =
                    self.changes.iter().enumerate().filter(|(_, change)| {
                        !["applied", "failed"].contains(&change.status.as_str())
                    });
                let waiting: Vec<Value> =
                    waiting.map(|(age, change)| change.json(age, false)).collect();
                self.page(path, query, &waiting)
            }
            ("POST", ["harmony", "changes", "acknowledge"]) => self.acknowledge(&request.body),
            ("GET", ["harmony", "change", id]) => {
                let found = self.changes.iter().enumerate().find(|(_, change)| change.id == *id);
                found.map_or_else(not_found, |(age, change)| {
                    (200, json!({ "data": change.json(age, true) }))
                })
            }
            ("POST", ["harmony", "change", id, status @ ("applied" | "failed")]) => {
                match self.changes.iter_mut().find(|change| change.id == *id) {
                    Some(change) => {
                        change.status = (*status).to_owned();
                        (
                            200,
                            json!({ "success": true,
                                "message": format!("Change marked as {status}") }),
                        )
                    }
                    None => not_found(),
                }
            }
            ("POST", ["harmony", "update"]) => {
                let stored =
                    json!({ "id": "01k9", "type": request.body["type"], "action": "updated" });
                (200, json!({ "success": true, "message": "stored", "data": stored }))
            }
            ("GET", ["harmony", "resources", "resolve"]) => match query.strip_prefix("ref=") {
                Some("runbeam.acme.id.7") => {
                    let ingress = json!({ "type": "ingress", "id": 7, "name": "api",
                        "urls": ["https://a.example"], "team_id": "t1" });
                    let meta =
                        json!({ "provider": "runbeam", "resolved_at": "2026-01-01T00:00:00Z" });
                    (200, json!({ "data": ingress, "meta": meta }))
                }
                _ => not_found(),
            },
            ("POST", ["harmony", "status"]) => (200, json!({ "success": true })),
            (method, [collection, rest @ ..])
                if rest.len() <= 1 && self.resources.contains_key(*collection) =>
            {
                self.resource(method, path, query, collection, rest.first().copied(), &request.body)
            }
            _ => not_found(),
        }
    }

    fn authorize(&mut self, token: &str, body: &Value) -> Answer {
        if token.starts_with("mt_") && !self.renewal {
            return (403, json!({ "message": "A user has to authorize the gateway." }));
        }
        let Some(code) = body["gateway_code"].as_str().filter(|code| !code.is_empty()) else {
            return (422, json!({ "message": "The gateway code field is required." }));
        };
        if code == "foreign" {
            return (403, json!({ "message": "This gateway belongs to a different team" }));
        }
        let machine_token = self.tokens.remove(0);
        self.issued.push(machine_token.clone());
        let expires_at = Timestamp::now() + SignedDuration::from_secs(self.token_ttl);
        let answer = json!({
            "machine_token": machine_token,
            "expires_in": self.token_ttl as f64 - 0.25,
            "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
            "gateway": { "id": GATEWAY_ID, "code": code, "name": format!("Gateway {code}") },
            "abilities": ["harmony:read", "harmony:update"],
        });
        (200, answer)
    }

    fn acknowledge(&mut self, body: &Value) -> Answer {
        let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
        for id in body["change_ids"].as_array().into_iter().flatten() {
            match self.changes.iter_mut().find(|change| id == &json!(change.id)) {
                Some(change) => {
                    if change.status == "pending" {
                        change.status = "acknowledged".to_owned();
                    }
                    acknowledged.push(id);
                }
                None => failed.push(id),
            }
        }
        (200, json!({ "acknowledged": acknowledged, "failed": failed }))
    }

    fn resource(
        &mut self,
        method: &str,
        path: &str,
        query: &str,
        collection: &str,
        id: Option<&str>,
        body: &Value,
    ) -> Answer {
        let all = &self.resources[collection];
        let place = id.and_then(|id| {
            all.iter().position(|resource| resource["id"] == id || resource["code"] == id)
        });
        match (method, id, place) {
            ("GET", None, _) => self.page(path, query, all),
            ("GET", Some(_), Some(place)) => (200, json!({ "data": all[place] })),
            ("POST", None, _) => {
                let mut made = body.clone();
                made["id"] = format!("{collection}-{}", all.len() + 1).into();
                self.add(collection, made.clone());
                (201, json!({ "data": made }))
            }
            ("PUT", Some(_), Some(place)) => {
                self.resources.get_mut(collection).unwrap()[place] = body.clone();
                (200, json!({ "data": body }))
            }
            ("DELETE", Some(_), Some(place)) => {
                self.resources.get_mut(collection).unwrap().remove(place);
                (204, Value::Null)
            }
            (_, Some(_), None) => not_found(),
            _ => (405, json!({ "message": "Method not allowed" })),
        }
    }

    /// One page, with links like those of the real cloud: behind a proxy it calls itself by another
    /// name.
    fn page(&self, path: &str, query: &str, all: &[Value]) -> Answer {
        let size = self.page_size.min(all.len().max(1));
        let last = all.len().div_ceil(size).max(1);
        let page = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("page=")?.parse().ok())
            .unwrap_or(1_usize);
        let data: Vec<&Value> = all.iter().skip((page - 1) * size).take(size).collect();
        let next = (page < last)
            .then(|| format!("http://cloud.internal.invalid/api{path}?page={}", page + 1));
        let meta = json!({ "current_page": page, "last_page": last, "per_page": size,
            "total": all.len(), "path": format!("{}{path}", self.url) });
        (
            200,
            json!({ "data": data, "links": { "first": null, "last": null, "prev": null,
                "next": next }, "meta": meta }),
        )
    }
}

impl Change {
    fn json(&self, age: usize, whole: bool) -> Value {
        let created_at =
            Timestamp::from_second(1_795_000_000 + i64::try_from(age).unwrap()).unwrap();
        let mut json = json!({ "id": self.id, "status": self.status, "type": self.change_type,
            "gateway_id": GATEWAY_ID,
            "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
        });
        if whole {
            json["toml_config"] = self.toml.clone().into();
        }
        json
    }
}

fn not_found() -> Answer {
    (404, json!({ "message": "not found" }))
}
