//! What the cloud knows of a team's gateways: the resources that can be listed, read and changed.
//!
//! Members that have no field of their own are kept in `other`, so that what was read can be
//! changed and written back whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answers::Answer;
use super::fields::Fields;

/// One resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource<T> {
    /// The resource itself.
    pub data: T,
}

/// Several resources: those of all pages.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceList<T> {
    /// The resources themselves.
    pub data: Vec<T>,
}

/// A resource: its common fields, further ones of its own, and how both are read from and written
/// as JSON.
macro_rules! resource {
    ($(#[$doc:meta])* $name:ident, $what:literal $(, $(#[$field_doc:meta])* $field:ident or $other_name:literal)?) => {
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
            $($(#[$field_doc])*
            #[serde(skip_serializing_if = "String::is_empty")]
            pub $field: String,)?
            /// Everything else, as the cloud has it.
            #[serde(flatten)]
            pub other: Map<String, Value>,
        }

        impl $name {
            /// A new one, enabled, of which nothing else is said.
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
                let mut fields = Fields::from(members);
                let mut text = |name| fields.text(name).unwrap_or_default();
                Self {
                    id: text("id"),
                    code: text("code"),
                    name: text("name"),
                    team_id: text("team_id"),
                    gateway_id: text("gateway_id"),
                    $($field: fields.text(stringify!($field)).or_else(|| fields.peek($other_name)).unwrap_or_default(),)?
                    description: fields.text("description"),
                    enabled: fields.truth("enabled").unwrap_or(true),
                    other: fields.rest(),
                }
            }
        }

        impl Answer for $name {
            fn read(answer: Value) -> Result<Self, String> {
                match answer {
                    Value::Object(members) => Ok(members.into()),
                    _ => Err(concat!("has no object as ", $what).to_owned()),
                }
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
    Service, "service",
    /// What kind of service it is: the member `service_type`, else `type`.
    service_type or "type"
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_read_tolerantly_and_written_back_whole() {
        let read: Gateway = serde_json::from_value(json!({
            "type": "gateway", "id": 17, "code": "g", "name": "G", "team_id": 3, "enabled": 0, "dns": ["8.8.8.8"], "description": null
        }))
        .unwrap();
        assert_eq!(
            (&*read.id, &*read.team_id, read.enabled),
            ("17", "3", false)
        );
        let written = serde_json::to_value(&read).unwrap();
        let expected = json!({
            "type": "gateway", "id": "17", "code": "g", "name": "G", "team_id": "3", "enabled": false, "dns": ["8.8.8.8"]
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
}
