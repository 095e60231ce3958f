//! What the public Harmony DSL has and an HTTP edge has not, with what to use instead.

use crate::config::reader::{IGNORED_TABLES, Reader};

/// A name, and what to use instead.
type Foreign = (&'static str, &'static str);

const PROTOCOL: &str = "run Harmony Proxy for this protocol, and put the edge in front of its \
                        HTTP side with service = \"http\"";
const PLAIN_HTTP: &str = "use service = \"http\": the edge passes the bodies through unchanged";
const BODY: &str = "the edge does not touch bodies: do it in the service behind it";
const BRIDGE: &str =
    "run Harmony Proxy behind the edge for it, as a backend with service = \"http\"";
const MESH: &str = "use a jwt-auth step for who may come in, and [backends.NAME] for where it goes";

/// Tables at the top that would do something, somewhere else.
const TABLES: &[Foreign] = &[
    ("mesh", MESH),
    ("remote_ingress", MESH),
    ("transforms", BODY),
    ("transform", BODY),
];

/// Values of `service`.
pub(crate) const SERVICES: &[Foreign] = &[
    ("dicom", PROTOCOL),
    ("dicom_scp", PROTOCOL),
    ("dicom_scu", PROTOCOL),
    ("mock_dicom", PROTOCOL),
    ("dimse", PROTOCOL),
    ("hl7", PROTOCOL),
    ("hl7v2", PROTOCOL),
    ("mllp", PROTOCOL),
    ("dicomweb", PLAIN_HTTP),
    ("fhir", PLAIN_HTTP),
    ("jmix", PLAIN_HTTP),
    ("jmix_backend", PLAIN_HTTP),
    ("http3", "use service = \"http\": HTTP/1.1 and HTTP/2"),
    ("https", "use service = \"http\" with an https base_url"),
    (
        "storage",
        "put a file server behind the edge, as a backend with service = \"http\"",
    ),
    ("management", "use the [management] table"),
    ("custom", PLAIN_HTTP),
];

/// Values of `protocol` of a target or a connection.
pub(crate) const PROTOCOLS: &[Foreign] = &[
    ("h3", "use \"https\""),
    ("http3", "use \"https\""),
    ("dicom", PROTOCOL),
    ("hl7v2", PROTOCOL),
    ("harmony", "use \"https\""),
    ("fhir", "use \"https\""),
    ("custom", "use \"http\" or \"https\""),
];

/// Values of `type` of a middleware, spelt with `-`.
pub(crate) const STEPS: &[Foreign] = &[
    ("transform", BODY),
    ("metadata-transform", BODY),
    ("json-extractor", BODY),
    ("dicom-flatten", BRIDGE),
    ("dicom-unflatten", BRIDGE),
    ("dicom-to-dicomweb", BRIDGE),
    ("dicomweb-to-dicom", BRIDGE),
    ("dicomweb-bridge", BRIDGE),
    ("dicom", BRIDGE),
    ("fhir", BRIDGE),
    ("jmix-builder", BRIDGE),
    ("jmix-index", BRIDGE),
    ("connect", "name the backend in `backends` of the pipeline"),
    (
        "webhook",
        "call it from the service behind the edge; the access log and /metrics tell what passed",
    ),
    ("mesh-auth", MESH),
    ("custom", "do it in the service behind the edge"),
];

/// Looks a name up.
pub(crate) fn instead(list: &[Foreign], name: &str) -> Option<&'static str> {
    list.iter()
        .find(|(foreign, _)| *foreign == name)
        .map(|(_, instead)| *instead)
}

/// Reports the tables at the top that another program uses, and takes note of those that nothing
/// uses.
pub(crate) fn tables(root: &Reader<'_>) {
    root.ignore(IGNORED_TABLES);
    for (name, instead) in TABLES {
        if let Some(entry) = root.get_of_others(name) {
            entry.foreign("the table", name, instead);
        }
    }
}
