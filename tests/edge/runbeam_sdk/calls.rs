//! Every call: what is sent, and what becomes of the answer.

use runbeam_sdk::{Backend, Endpoint, Gateway, MachineToken, Pipeline, RunbeamClient, Service};
use serde_json::json;

use crate::support::Cloud;
use crate::support::cloud::GATEWAY_ID;

#[tokio::test]
async fn authorizing_sends_what_the_cloud_wants() {
    let cloud = Cloud::start();
    let user_token = cloud.user_token().sign();
    let client = RunbeamClient::new(cloud.url());
    let answer = client
        .authorize_gateway(&user_token, "g-1", Some("key".into()), Some(vec!["a=b".into()]))
        .await
        .unwrap();
    assert_eq!(answer.machine_token, cloud.issued_tokens()[0]);
    assert_eq!((answer.expires_in, answer.abilities.len()), (2_591_999.75, 2));
    assert_eq!(
        (&*answer.gateway.id, &*answer.gateway.code, &*answer.gateway.name),
        (GATEWAY_ID, "g-1", "Gateway g-1")
    );
    let requests = cloud.requests();
    let paths: Vec<&str> = requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/api/harmony/base-url", "/api/harmony/authorize"]);
    for request in &requests {
        assert_eq!(request.authorization, Some(format!("Bearer {user_token}")));
        assert_eq!(
            request.user_agent.as_deref(),
            Some(concat!("harmony-edge/", env!("CARGO_PKG_VERSION")))
        );
        assert_eq!(request.head.matches(&user_token).count(), 1, "the token is in no other field");
    }
    let expected = json!({ "token": user_token, "gateway_code": "g-1",
        "machine_public_key": "key", "metadata": ["a=b"] });
    assert_eq!(
        (&requests[1].body, requests[1].content_type.as_deref()),
        (&expected, Some("application/json"))
    );
    // What is not given is not sent.
    client.authorize_gateway(user_token.clone(), String::from("g-2"), None, None).await.unwrap();
    assert_eq!(cloud.requests()[2].body, json!({ "token": user_token, "gateway_code": "g-2" }));
}

#[tokio::test]
async fn a_machine_token_renews_itself_if_the_cloud_lets_it() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    cloud.token_ttl(-5);
    let useless = client.authorize_gateway("1|abc", "g", None, None).await.unwrap_err();
    assert!(useless.to_string().contains("a token that has expired"), "{useless}");
    cloud.token_ttl(60);
    let token = client.authorize_gateway("1|abc", "g", None, None).await.unwrap();
    let second = client.authorize_gateway(&token.machine_token, "g", None, None).await.unwrap();
    let token = MachineToken::new(
        second.machine_token,
        second.expires_at,
        second.gateway.id,
        second.gateway.code,
        second.abilities,
    );
    assert!(token.is_valid());
    cloud.allow_renewal(false);
    assert!(
        client
            .authorize_gateway(&token.machine_token, "g", None, None)
            .await
            .unwrap_err()
            .is_rejected()
    );
}

#[tokio::test]
async fn the_life_of_a_change() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let token = client.authorize_gateway("1|abc", "g", None, None).await.unwrap().machine_token;
    for number in 1..=5 {
        cloud.add_change(&format!("c{number}"), "gateway", &format!("number = {number}"));
    }
    cloud.page_size(2);
    let listed = client.list_changes_for_gateway(&token, GATEWAY_ID).await.unwrap();
    let meta = listed.meta.unwrap();
    assert_eq!((meta.current_page, meta.last_page, meta.total), (3, 3, 5));
    assert_eq!(listed.links.unwrap().next, None);
    let changes = listed.data;
    let ids: Vec<&str> = changes.iter().map(|change| change.id.as_str()).collect();
    assert_eq!(ids, ["c1", "c2", "c3", "c4", "c5"]);
    assert_eq!(cloud.requests_to("/changes/").len(), 3, "one a page");
    assert!(changes.iter().all(|change| change.toml_config.is_none()
        && change.status == "pending"
        && change.resource_type == "gateway"));
    assert!(changes[0].created_at < changes[4].created_at);
    let change = client.get_change(&token, "c2").await.unwrap().data;
    assert_eq!(change.toml_config.as_deref(), Some("number = 2"));
    assert!(!format!("{change:?}").contains("number"), "a configuration may hold secrets");
    let answer = client.acknowledge_changes(&token, ["c2", "c3", "none"]).await.unwrap();
    assert_eq!(
        (answer.acknowledged, answer.failed),
        (vec!["c2".to_owned(), "c3".to_owned()], vec!["none".to_owned()])
    );
    assert!(client.mark_change_applied(&token, "c2").await.unwrap().success);
    client
        .mark_change_failed(&token, "c3", "no such key", Some(vec!["a".into(), "b".into()]))
        .await
        .unwrap();
    assert_eq!(
        cloud.requests_to("/failed")[0].body,
        json!({ "error": "no such key", "details": ["a", "b"] })
    );
    assert_eq!(
        ["c1", "c2", "c3"].map(|id| cloud.change_status(id).unwrap()),
        ["pending", "applied", "failed"]
    );
    assert_eq!(client.list_changes(&token).await.unwrap().data.len(), 3);
}

#[tokio::test]
async fn resources_are_made_read_changed_and_deleted() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(format!("{}/api/", cloud.url()));
    let token = "1|abc";
    let made = client.create_gateway(token, &Gateway::new("east", "East")).await.unwrap().data;
    assert_eq!((&*made.id, &*made.code, made.enabled), ("gateways-1", "east", true));
    let mut read = client.get_gateway(token, "east").await.unwrap().data;
    assert_eq!(read, made);
    read.enabled = false;
    read.other.insert("dns".into(), json!(["192.0.2.1"]));
    client.update_gateway(token, &read.id, &read).await.unwrap();
    let listed = client.list_gateways(token).await.unwrap().data;
    assert_eq!(listed, [read.clone()]);
    client.delete_gateway(token, &read.id).await.unwrap();
    assert_eq!(client.get_gateway(token, "east").await.unwrap_err().status(), Some(404));

    let mut service = client
        .create_service(token, &Service { service_type: "http".into(), ..Service::new("s", "S") })
        .await
        .unwrap()
        .data;
    service.description = Some("new".into());
    client.update_service(token, &service.id, &service).await.unwrap();
    assert_eq!(client.get_service(token, &service.id).await.unwrap().data, service);
    assert_eq!(client.list_services(token).await.unwrap().data, [service.clone()]);
    client.delete_service(token, &service.id).await.unwrap();
    for collection in ["endpoints", "backends", "pipelines"] {
        for id in 1..=3 {
            cloud.add(
                collection,
                json!({ "id": id, "code": format!("{collection}{id}"),
                "name": "N", "gateway_id": 9 }),
            );
        }
    }
    cloud.page_size(2);
    assert_eq!(client.list_endpoints(token).await.unwrap().data[2].code, "endpoints3");
    assert_eq!(client.list_backends(token).await.unwrap().data[2].id, "3");
    assert_eq!(client.list_pipelines(token).await.unwrap().data[2].gateway_id, "9");
}

#[tokio::test]
async fn endpoints_backends_and_pipelines_have_the_same_calls() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let token = "1|abc";
    macro_rules! try_calls {
        ($type:ident, $create:ident $get:ident $update:ident $list:ident $delete:ident) => {
            let mut made = client.$create(token, &$type::new("c", "N")).await.unwrap().data;
            made.description = Some("new".into());
            made.other.insert("tags".into(), json!(["a"]));
            client.$update(token, &made.id, &made).await.unwrap();
            assert_eq!(client.$get(token, &made.id).await.unwrap().data, made);
            let listed = client.$list(token).await.unwrap();
            let json = serde_json::to_value(&listed).unwrap();
            assert_eq!(
                (&json["data"][0]["tags"], &json["meta"]["total"]),
                (&json!(["a"]), &json!(1))
            );
            client.$delete(token, &made.id).await.unwrap();
            assert_eq!(client.$get(token, &made.id).await.unwrap_err().status(), Some(404));
        };
    }
    try_calls!(
        Endpoint, create_endpoint get_endpoint update_endpoint list_endpoints delete_endpoint
    );
    try_calls!(Backend, create_backend get_backend update_backend list_backends delete_backend);
    try_calls!(
        Pipeline, create_pipeline get_pipeline update_pipeline list_pipelines delete_pipeline
    );
}

#[tokio::test]
async fn references_and_transforms() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let token = "1|abc";
    let found = client.resolve_reference(token, "runbeam.acme.id.7").await.unwrap();
    assert_eq!((&*found.data.id, &*found.data.resource_type), ("7", "ingress"));
    assert_eq!(found.data.urls, ["https://a.example"]);
    assert_eq!((&*found.meta.provider, &found.data.other["team_id"]), ("runbeam", &json!("t1")));
    let unknown = client.resolve_reference(token, "a b&ref=runbeam.acme.id.7").await;
    assert_eq!(unknown.unwrap_err().status(), Some(404));
    assert!(
        cloud.requests().last().unwrap().path.ends_with("?ref=a%20b%26ref%3Drunbeam.acme.id.7")
    );
    cloud.add("transforms", json!({ "id": "t", "options": { "instructions": "[]" } }));
    let transform = client.get_transform(token, "t").await.unwrap().data;
    assert_eq!(transform.options.unwrap().instructions.as_deref(), Some("[]"));
}

#[tokio::test]
async fn configuration_and_status_are_sent() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let stored = client.store_config("1|abc", "gateway", Some("g1".into()), "a = 1").await.unwrap();
    let data = stored.data.unwrap();
    assert_eq!((&*data.id, &*data.model_type, &*data.action), ("01k9", "gateway", "updated"));
    client.store_config("1|abc", "pipeline", None, "b = 2").await.unwrap();
    let bodies: Vec<_> =
        cloud.requests_to("/update").into_iter().map(|request| request.body).collect();
    assert_eq!(
        bodies,
        [
            json!({ "type": "gateway", "id": "g1", "config": "a = 1" }),
            json!({ "type": "pipeline", "config": "b = 2" })
        ]
    );
    client.report_status("1|abc", &json!({ "version": "1" })).await.unwrap();
    assert_eq!(cloud.requests_to("/status")[0].body, json!({ "version": "1" }));
}

#[tokio::test]
async fn an_id_is_one_segment_of_the_path() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let token = "1|abc";
    for id in ["", ".", ".."] {
        assert!(client.get_gateway(token, id).await.is_err(), "{id:?}");
    }
    assert!(cloud.requests().is_empty());
    for (id, path) in [
        ("a/../b?c#d", "/api/gateways/a%2F..%2Fb%3Fc%23d"),
        ("%2e%2e", "/api/gateways/%252e%252e"),
        ("ä b", "/api/gateways/%C3%A4%20b"),
    ] {
        client.get_gateway(token, id).await.unwrap_err();
        assert_eq!(cloud.requests().last().unwrap().path, path, "{id}");
    }
}
