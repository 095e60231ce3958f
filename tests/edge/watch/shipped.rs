//! The dashboard and the alert rules under `conf/`: whole, and about metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::exposition::Exposition;
use super::has;
use crate::support::{Edge, Issuer, Upstream};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name)
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(shipped("grafana-dashboard.json")).unwrap()).unwrap()
}

/// Words of a query that begin as our metrics do.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words =
        text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words
        .filter(|word| word.starts_with("harmony_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Every string at any depth under a key of this name.
fn strings(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == name => found.push(text.clone()),
                    other => strings(other, name, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, name, found)),
        _ => {}
    }
}

#[test]
fn what_they_ask_for_is_there() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).start();
    let there = Exposition::parse(&edge.manage("/metrics").send().text()).names();
    let rules = fs::read_to_string(shipped("alerts.yml")).unwrap();
    let mut queries = Vec::new();
    strings(&dashboard(), "expr", &mut queries);
    strings(&dashboard(), "query", &mut queries);
    let asked: BTreeSet<String> =
        queries.iter().chain([&rules]).flat_map(|text| metrics_in(text)).collect();
    assert!(asked.len() > 20, "{asked:?}");
    assert_eq!(asked.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn the_dashboard_has_the_form_that_grafana_imports() {
    let dashboard = dashboard();
    assert!(
        dashboard["schemaVersion"].as_u64() >= Some(36)
            && dashboard["uid"] == "harmony-edge"
            && dashboard["id"].is_null()
    );
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "datasource"
        && variable["type"] == "datasource"
        && variable["query"] == "prometheus"));
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let at = |name: &str| {
            panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("{title}: gridPos.{name}"))
        };
        let place = (at("x"), at("y"), at("w"), at("h"));
        assert!(place.2 > 0 && place.3 > 0 && place.0 + place.2 <= 24, "{title}");
        for (other, (x, y, w, h)) in &places {
            let apart = place.0 >= x + w
                || x >= &(place.0 + place.2)
                || place.1 >= y + h
                || y >= &(place.1 + place.3);
            assert!(apart, "{title} lies over {other}");
        }
        places.push((title, place));
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let names: BTreeSet<&str> =
            targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && names.len() == targets.len(), "{title}");
        assert!(
            targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"),
            "{title}"
        );
    }
    assert!(panels.len() > 20);
}

#[test]
fn promtool_takes_the_rules_and_they_fire_when_they_should() {
    if !has("promtool", "--version") {
        return;
    }
    let run = |arguments: &[&str]| {
        let output = Command::new("promtool").args(arguments).output().expect("promtool");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let rules = shipped("alerts.yml");
    run(&["check", "rules", rules.to_str().unwrap()]);
    let directory = tempfile::tempdir().unwrap();
    let test = directory.path().join("test.yml");
    fs::write(&test, include_str!("alerts.test.yml").replace("{rules}", rules.to_str().unwrap()))
        .unwrap();
    run(&["test", "rules", test.to_str().unwrap()]);
}
