//! The resources of a team in the cloud: those that can be listed, read and changed.
//!
//! Members that have no field of their own are kept in `other`, so that what was read can be
//! changed and written back whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::Fields;
use super::responses::FromResponse;

/// One resource, as the cloud wraps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceResponse<T> {
    /// The resource itself.
    pub data: T,
}

/// A list of resources: the elements of all pages, since the client follows them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaginatedResponse<T> {
    /// The elements of all pages.
    pub data: Vec<T>,
    /// The links of the last page; `None` if the cloud sent none.
    pub links: Option<PaginationLinks>,
    /// The numbers of the last page; `None` if the cloud sent none.
    pub meta: Option<PaginationMeta>,
}

/// Where a list has further pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PaginationLinks {
    /// The first page.
    pub first: Option<String>,
    /// The last page.
    pub last: Option<String>,
    /// The page before this one.
    pub prev: Option<String>,
    /// The page after this one.
    pub next: Option<String>,
}

/// How a list is cut into pages. What the cloud does not say is 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PaginationMeta {
    /// The number of this page, from 1.
    pub current_page: u64,
    /// The number of the last page.
    pub last_page: u64,
    /// How many elements a page has.
    pub per_page: u64,
    /// How many elements there are.
    pub total: u64,
}

impl PaginationLinks {
    pub(super) fn read(links: Value) -> Option<Self> {
        let mut links = Fields::of(links)?;
        Some(Self {
            first: links.text("first"),
            last: links.text("last"),
            prev: links.text("prev"),
            next: links.text("next"),
        })
    }
}

impl PaginationMeta {
    pub(super) fn read(meta: Value) -> Option<Self> {
        let mut meta = Fields::of(meta)?;
        let mut number = |name| meta.number(name).map_or(0, |number| number as u64);
        Some(Self {
            current_page: number("current_page"),
            last_page: number("last_page"),
            per_page: number("per_page"),
            total: number("total"),
        })
    }
}

/// A resource: its common fields, further ones of its own with how they are read, and how all are
/// written as JSON.
macro_rules! resource {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal
        $({ $($(#[$field_meta:meta])* $field:ident: $type:ty = $read:expr,)* })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(from = "Map<String, Value>")]
        pub struct $name {
            /// Its id. Empty: the cloud is to give it one.
            #[serde(skip_serializing_if = "String::is_empty")]
            pub id: String,
            /// Its code: short, and unique in its team.
            pub code: String,
            /// Its name.
            pub name: String,
            /// The team that owns it.
            #[serde(skip_serializing_if = "String::is_empty")]
            pub team_id: String,
            /// The gateway that it belongs to; empty if to none.
            #[serde(skip_serializing_if = "String::is_empty")]
            pub gateway_id: String,
            /// What it is for.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub description: Option<String>,
            /// Whether it is in use. Default true.
            pub enabled: bool,
            $($($(#[$field_meta])* pub $field: $type,)*)?
            /// Everything else, as the cloud has it.
            #[serde(flatten)]
            pub other: Map<String, Value>,
        }

        impl $name {
            /// A new one, enabled, with nothing else set.
            pub fn new(code: impl Into<String>, name: impl Into<String>) -> Self {
                Self {
                    code: code.into(),
                    name: name.into(),
                    ..Self::default()
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::from(Map::new())
            }
        }

        impl From<Map<String, Value>> for $name {
            fn from(members: Map<String, Value>) -> Self {
                Self::from(Fields::from(members))
            }
        }

        impl From<Fields> for $name {
            fn from(mut fields: Fields) -> Self {
                let mut text = |name| fields.text(name).unwrap_or_default();
                Self {
                    id: text("id"),
                    code: text("code"),
                    name: text("name"),
                    team_id: text("team_id"),
                    gateway_id: text("gateway_id"),
                    description: fields.text("description"),
                    enabled: fields.boolean("enabled").unwrap_or(true),
                    $($($field: {
                        let read: fn(&mut Fields) -> $type = $read;
                        read(&mut fields)
                    },)*)?
                    other: fields.remaining(),
                }
            }
        }

        impl FromResponse for $name {
            fn from_response(response: Value) -> Result<Self, String> {
                Fields::from_object(response, $what).map(Self::from)
            }
        }
    };
}

resource! {
    /// A gateway.
    Gateway, "gateway"
}

resource! {
    /// A service of a gateway.
    Service, "service" {
        /// What kind of service it is: the member `service_type`, else `type`.
        #[serde(skip_serializing_if = "String::is_empty")]
        service_type: String = |fields| fields.text_or_peek("service_type", "type"),
    }
}

resource! {
    /// An endpoint: where requests come in.
    Endpoint, "endpoint"
}

resource! {
    /// A backend: where requests go.
    Backend, "backend"
}

resource! {
    /// A pipeline, from endpoints to backends.
    Pipeline, "pipeline"
}

resource! {
    /// A step of a pipeline.
    Middleware, "middleware" {
        /// What the step does: the member `middleware_type`, else `type`.
        #[serde(skip_serializing_if = "String::is_empty")]
        middleware_type: String = |fields| fields.text_or_peek("middleware_type", "type"),
        /// Its options.
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<Value> = |fields| fields.take("options"),
    }
}

resource! {
    /// A transformation of a message.
    Transform, "transform" {
        /// Its options.
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<TransformOptions> = |fields| {
            TransformOptions::read(fields.take("options")?)
        },
    }
}

resource! {
    /// A policy: a list of rules.
    Policy, "policy" {
        /// The ids of its rules, in order. Rules that the cloud writes out stay in `other`.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String> = |fields| fields.plain_strings("rules"),
    }
}

resource! {
    /// A network: where a gateway listens.
    Network, "network" {
        /// Whether it is reached through WireGuard. Default false.
        enable_wireguard: bool = |fields| fields.boolean("enable_wireguard").unwrap_or(false),
        /// The network interface.
        #[serde(skip_serializing_if = "Option::is_none")]
        interface: Option<String> = |fields| fields.text("interface"),
    }
}

resource! {
    /// How requests authenticate.
    Authentication, "authentication" {
        /// The method; empty if the cloud did not say.
        #[serde(skip_serializing_if = "String::is_empty")]
        method: String = |fields| fields.text("method").unwrap_or_default(),
        /// Its options.
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<Value> = |fields| fields.take("options"),
    }
}

/// What a [`Transform`] does.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TransformOptions {
    /// The JOLT specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Everything else, as the cloud has it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl TransformOptions {
    fn read(options: Value) -> Option<Self> {
        let mut options = Fields::of(options)?;
        Some(Self {
            instructions: options.text("instructions"),
            other: options.remaining(),
        })
    }
}

/// A gateway with everything that belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayConfiguration {
    /// The gateway itself.
    pub gateway: Gateway,
    /// Its services.
    pub services: Vec<Service>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Its backends.
    pub backends: Vec<Backend>,
    /// Its pipelines.
    pub pipelines: Vec<Pipeline>,
    /// The steps of its pipelines.
    pub middlewares: Vec<Middleware>,
    /// Its transformations.
    pub transforms: Vec<Transform>,
    /// Its policies.
    pub policies: Vec<Policy>,
    /// Its networks.
    pub networks: Vec<Network>,
    /// Its ways of authenticating.
    pub authentications: Vec<Authentication>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_read_tolerantly_and_written_back_whole() {
        let read: Gateway = serde_json::from_value(json!({
            "type": "gateway", "id": 17, "code": "g", "name": "G", "team_id": 3, "enabled": 0,
            "dns": ["8.8.8.8"], "description": null
        }))
        .unwrap();
        assert_eq!(
            (&*read.id, &*read.team_id, read.enabled),
            ("17", "3", false)
        );
        let written = serde_json::to_value(&read).unwrap();
        let expected = json!({
            "type": "gateway", "id": "17", "code": "g", "name": "G", "team_id": "3",
            "enabled": false, "dns": ["8.8.8.8"]
        });
        assert_eq!(written, expected);
        let least: Gateway = serde_json::from_value(json!({})).unwrap();
        assert!(least.enabled && least.code.is_empty());
        assert_eq!(
            serde_json::to_value(Gateway::new("a", "A")).unwrap(),
            json!({"code": "a", "name": "A", "enabled": true})
        );
    }

    #[test]
    fn a_services_type() {
        let cases = [
            (json!({"service_type": "http", "type": "service"}), "http"),
            (json!({"type": "fhir"}), "fhir"),
            (json!({"service_type": null, "type": "fhir"}), "fhir"),
            (json!({}), ""),
        ];
        for (json, expected) in cases {
            let service: Service = serde_json::from_value(json).unwrap();
            assert_eq!(service.service_type, expected);
        }
    }

    #[test]
    fn further_resources_keep_what_they_do_not_know() {
        let transform: Transform = serde_json::from_value(json!({
            "id": "t", "options": { "instructions": "[]", "mode": "jolt" }
        }))
        .unwrap();
        let options = transform.options.as_ref().unwrap();
        assert_eq!(options.instructions.as_deref(), Some("[]"));
        let written = serde_json::to_value(&transform).unwrap();
        assert_eq!(
            written["options"],
            json!({ "instructions": "[]", "mode": "jolt" })
        );
        let configuration: GatewayConfiguration = serde_json::from_value(json!({
            "gateway": { "code": "g" },
            "middlewares": [{ "type": "jwt-auth", "options": { "issuer": "i" } }],
            "policies": [{ "code": "p", "enabled": 1, "rules": ["a", "b"] },
            { "rules": [{ "id": "c" }] }],
            "networks": [{ "code": "n", "enable_wireguard": 1, "http": { "bind_port": 80 } }],
            "authentications": [{ "method": "basic" }],
            "meshes": []
        }))
        .unwrap();
        assert_eq!(configuration.middlewares[0].middleware_type, "jwt-auth");
        assert_eq!(configuration.policies[0].rules, ["a", "b"]);
        let written_out = serde_json::to_value(&configuration.policies[1]).unwrap();
        assert_eq!(written_out["rules"], json!([{ "id": "c" }]));
        let network = &configuration.networks[0];
        assert!(network.enable_wireguard && network.other["http"]["bind_port"] == 80);
        assert_eq!(configuration.authentications[0].method, "basic");
    }
}
