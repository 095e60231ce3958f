//! Where the API begins.

use runbeam_sdk::RunbeamClient;
use serde_json::json;

use crate::support::Cloud;
use crate::support::cloud::Fault;
use crate::support::ports::Port;
use crate::support::server::Server;

const TOKEN: &str = "1|abc";

fn paths(cloud: &Cloud) -> Vec<String> {
    let paths = cloud.requests().into_iter().map(|request| request.path).collect();
    cloud.forget_requests();
    paths
}

#[tokio::test]
async fn it_is_asked_for_once() {
    let cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    let twin = client.clone();
    client.list_gateways(TOKEN).await.unwrap();
    twin.list_gateways(TOKEN).await.unwrap();
    assert_eq!(paths(&cloud), ["/api/harmony/base-url", "/api/gateways", "/api/gateways"]);
    // With `/api` at the end of the base, the second question is the right one.
    let client = RunbeamClient::new(format!("{}/api", cloud.url()));
    client.list_gateways(TOKEN).await.unwrap();
    assert_eq!(
        paths(&cloud),
        ["/api/api/harmony/base-url", "/api/harmony/base-url", "/api/gateways"]
    );
}

#[tokio::test]
async fn what_the_cloud_answers_counts_on_its_own_host_only() {
    let cloud = Cloud::start();
    let port = Port::claim();
    let elsewhere = Server::start(port.number(), |_, _| {});
    let root = |address: String| json!({ "base_url": address });
    let own = cloud.url();
    cloud.base_url_answer(Some(root(format!("{own}/v2/"))));
    let told = RunbeamClient::new(&own).get_base_url(TOKEN).await.unwrap();
    assert_eq!(told.base_url, format!("{own}/v2/"));
    RunbeamClient::new(&own).list_gateways(TOKEN).await.unwrap_err();
    assert_eq!(paths(&cloud).last().unwrap(), "/v2/gateways");
    let foreign = [
        format!("http://127.0.0.1:{port}/api"),
        format!("{own}@127.0.0.1:{port}/api"),
        own.replace("127.0.0.1", "localhost"),
        own.replace("http://", "https://"),
        format!("{own}.evil.example/api"),
        "garbage".to_owned(),
    ];
    for address in foreign {
        cloud.base_url_answer(Some(root(address.clone())));
        let told = RunbeamClient::new(&own).get_base_url(TOKEN).await;
        assert!(told.is_err(), "{address}: a program is not led there either");
        RunbeamClient::new(&own).list_gateways(TOKEN).await.unwrap();
        assert_eq!(paths(&cloud).last().unwrap(), "/api/gateways", "{address}");
    }
    assert_eq!(elsewhere.accepted(), 0);
}

#[tokio::test]
async fn a_cloud_that_does_not_say_has_it_in_the_usual_place() {
    let cloud = Cloud::start();
    cloud.base_url_answer(None);
    for base in [cloud.url(), format!("{}/api", cloud.url())] {
        let client = RunbeamClient::new(base);
        client.list_gateways(TOKEN).await.unwrap();
        assert_eq!(paths(&cloud).last().unwrap(), "/api/gateways");
        client.list_gateways(TOKEN).await.unwrap();
        assert_eq!(paths(&cloud), ["/api/gateways"], "that is remembered too");
    }
}

#[tokio::test]
async fn it_is_asked_for_again_after_a_failure() {
    let mut cloud = Cloud::start();
    let client = RunbeamClient::new(cloud.url());
    client.list_gateways(TOKEN).await.unwrap();
    paths(&cloud);
    cloud.fail_at("/gateways", 1, Fault::status(500));
    client.list_gateways(TOKEN).await.unwrap();
    assert_eq!(paths(&cloud), ["/api/gateways", "/api/harmony/base-url", "/api/gateways"]);
    cloud.stop();
    client.list_gateways(TOKEN).await.unwrap_err();
    cloud.restart();
    cloud.base_url_answer(Some(json!({ "base_url": format!("{}/api/v3", cloud.url()) })));
    client.list_gateways(TOKEN).await.unwrap_err();
    assert_eq!(paths(&cloud), ["/api/harmony/base-url", "/api/v3/gateways"]);
    // Trouble with the question is no answer: it is put again at the next call.
    let client = RunbeamClient::new(cloud.url());
    cloud.base_url_answer(None);
    cloud.fail_at("base-url", 2, Fault::status(500));
    client.list_gateways(TOKEN).await.unwrap();
    paths(&cloud);
    client.list_gateways(TOKEN).await.unwrap();
    assert_eq!(paths(&cloud).len(), 3);
}
