//! The lines of the log at a start: who this is, where it listens, and what goes where.

use crate::config::{BackendTarget, Config, Endpoint, Pipeline, Service};

/// How many upstreams are named; the others are counted.
const MAX_NAMED: usize = 4;

pub(super) fn log(config: &Config) {
    log::info!(
        "harmony-edge {} as {}, {} threads",
        env!("CARGO_PKG_VERSION"),
        config.id,
        config.threads
    );
    for network in &config.networks {
        let tls = if network.tls.is_some() { ", TLS" } else { "" };
        log::info!("network {} on {}{tls}", network.name, network.bind);
    }
    match &config.runbeam {
        Some(runbeam) => log::info!(
            "Runbeam Cloud at {}, token store {}{}",
            runbeam.cloud_api_base_url,
            runbeam.token_store,
            runbeam.poll_interval.map_or_else(
                || ", no polling".to_owned(),
                |interval| format!(", polled every {} s", interval.as_secs())
            )
        ),
        None => log::info!("Runbeam Cloud is off"),
    }
    match config.cloud.pipelines.len() {
        0 => log::info!("configuration from the local files"),
        count => {
            log::info!("configuration from the local files, pipelines from the cloud: {count}");
        }
    }
    for pipeline in &config.pipelines {
        let steps = pipeline.steps.iter().map(|step| match step.enforce {
            true => step.name.to_string(),
            false => format!("{} in shadow", step.name),
        });
        let steps: Vec<String> = steps.collect();
        let chain = match (pipeline.open(), steps.join(", ")) {
            (Some(chain), _) => format!(" ({chain})"),
            (None, chain) if chain.is_empty() => chain,
            (None, chain) => format!(" ({chain})"),
        };
        let cloud = match config.cloud.pipelines.contains(&pipeline.name) {
            true => ", from the cloud",
            false => "",
        };
        for endpoint in &pipeline.endpoints {
            log::info!(
                "pipeline {}{chain}{cloud}: {} -> {}",
                pipeline.name,
                places(endpoint),
                targets(pipeline, endpoint)
            );
        }
    }
    for note in &config.notes {
        let level = if note.warning {
            log::Level::Warn
        } else {
            log::Level::Info
        };
        log::log!(level, "{}", note.text);
    }
}

/// `/api/*`, with methods and hosts where the endpoint names any.
fn places(endpoint: &Endpoint) -> String {
    let methods: Vec<&str> = endpoint
        .methods
        .iter()
        .map(|method| method.as_str())
        .collect();
    let methods = match methods.as_slice() {
        [] => String::new(),
        methods => methods.join(",") + " ",
    };
    let below = below(&endpoint.path_prefix);
    if endpoint.hosts.is_empty() {
        return methods + &below;
    }
    let hosts = endpoint.hosts.iter();
    let places: Vec<String> = hosts.map(|host| format!("{host}{below}")).collect();
    methods + &places.join(", ")
}

/// Where requests of an endpoint go, with the path that they get there.
fn targets(pipeline: &Pipeline, endpoint: &Endpoint) -> String {
    match &endpoint.service {
        Service::Http => {}
        Service::Echo => return "echo".to_owned(),
        Service::Redirect(redirect) => return redirect.to_string(),
        service @ (Service::BackchannelLogout(_) | Service::SecurityEvents(_)) => {
            return service.as_str().to_owned();
        }
    }
    let kept = match endpoint.strip_prefix {
        true => "/",
        false => &endpoint.path_prefix,
    };
    let below = endpoint.add_prefix.trim_end_matches('/').to_owned() + &below(kept);
    let mut all: Vec<String> = Vec::new();
    for backend in &pipeline.backends {
        match &backend.target {
            BackendTarget::Echo => all.push("echo".to_owned()),
            BackendTarget::Http(http) => {
                let upstreams = http.upstreams.iter();
                let when = backend.when.as_ref().map(|when| format!(" (when {when})"));
                let after = below.clone() + &when.unwrap_or_default();
                all.extend(upstreams.map(|upstream| upstream.shown() + &after));
            }
        }
    }
    let more = all.len().saturating_sub(MAX_NAMED);
    all.truncate(MAX_NAMED);
    let all = all.join(", ");
    match more {
        0 => all,
        more => format!("{all} and {more} more"),
    }
}

fn below(prefix: &str) -> String {
    format!("{}/*", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn line(endpoint: &str, backend: &str) -> String {
        let text = format!(
            "[proxy]\nid = \"t\"\n[network.n.http]\nbind_port = 1\n\
             [pipelines.p]\nnetworks = [\"n\"]\nendpoints = [\"e\"]\nmiddleware = []\n\
             backends = [\"b\"]\n\
             [endpoints.e]\n{endpoint}\n[backends.b]\n{backend}\n"
        );
        let env = BTreeMap::from([("KEY".to_owned(), "s3cret".to_owned())]);
        let config = parse(Path::new("t.toml"), &text, &env).unwrap_or_else(|it| panic!("{it}"));
        let pipeline = &config.pipelines[0];
        let endpoint = &pipeline.endpoints[0];
        format!("{} -> {}", places(endpoint), targets(pipeline, endpoint))
    }

    #[test]
    fn what_goes_where() {
        let app = "service = \"http\"\nbase_url = \"http://10.0.0.5:3000\"";
        let http = |options: &str| format!("service = \"http\"\noptions = {{ {options} }}");
        for (endpoint, backend, expected) in [
            (
                http("path_prefix = \"/api\""),
                app,
                "/api/* -> http://10.0.0.5:3000/*",
            ),
            (
                http("path_prefix = \"/api\", strip_prefix = false"),
                app,
                "/api/* -> http://10.0.0.5:3000/api/*",
            ),
            (
                http("path_prefix = \"/api\", add_prefix = \"/v1\""),
                app,
                "/api/* -> http://10.0.0.5:3000/v1/*",
            ),
            (
                http("path_prefix = \"/api\", add_prefix = \"/v1\", strip_prefix = false"),
                app,
                "/api/* -> http://10.0.0.5:3000/v1/api/*",
            ),
            (http(""), app, "/* -> http://10.0.0.5:3000/*"),
            (
                http("strip_prefix = false"),
                app,
                "/* -> http://10.0.0.5:3000/*",
            ),
            (
                http(
                    "path_prefix = \"/a\", methods = [\"GET\", \"HEAD\"], hosts = [\"x.example\", \
                     \"y.example\"]",
                ),
                "service = \"http\"\nbase_url = \"https://h/base\"",
                "GET,HEAD x.example/a/*, y.example/a/* -> https://h/base/*",
            ),
            (
                http("path_prefix = \"/a\""),
                "service = \"http\"\nbase_url = \"https://h/bot${KEY}\"",
                "/a/* -> https://h/(filled in)/*",
            ),
            (
                http("path_prefix = \"/a\", strip_prefix = false"),
                "service = \"http\"\nconnection = { host = \"h\", base_path = \"/${KEY}\" }",
                "/a/* -> http://h/(filled in)/a/*",
            ),
            (
                http("path_prefix = \"/a\""),
                "service = \"http\"\nupstreams = [\"http://h1\", \"http://h2\", \"http://h3\", \
                 \"http://h4\", \"http://h5\", \"http://h6\"]",
                "/a/* -> http://h1/*, http://h2/*, http://h3/*, http://h4/* and 2 more",
            ),
            (
                "service = \"echo\"".to_owned(),
                "service = \"echo\"",
                "/* -> echo",
            ),
            (http(""), "service = \"echo\"", "/* -> echo"),
        ] {
            assert_eq!(line(&endpoint, backend), expected);
        }
    }
}
