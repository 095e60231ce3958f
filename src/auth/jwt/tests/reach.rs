//! URLs from the cloud, which may lead to some addresses only.

use std::sync::Arc;

use crate::auth::chain::Chain;
use crate::auth::shared::Shared;
use crate::auth::testing::{self, Issuer, Signer, jwks_url, settings};
use crate::config::{JwksUrl, KeySource, Reach};

fn build(shared: &Shared, url: JwksUrl) -> Chain {
    let step = testing::step(settings(KeySource::JwksUrl(url)));
    Chain::build(&[step], shared).unwrap()
}

/// Whether a step whose key set has this reach gets keys.
async fn gets_keys(issuer: &Issuer, host: &str, reach: Reach) -> bool {
    let mut url = jwks_url(&issuer.url.replace("127.0.0.1", host));
    url.reach = Some(Arc::new(reach));
    let shared = testing::shared();
    let _chain = build(&shared, url);
    let status = shared.key_sets().refresh_all().await.remove(0);
    if let Some(error) = &status.last_error {
        assert!(error.contains("may not connect to"), "{error}");
    }
    status.keys > 0
}

fn allowing(net: &str) -> Reach {
    Reach {
        management: None,
        allow: Some(vec![net.parse().unwrap()]),
    }
}

#[tokio::test]
async fn addresses_and_names_that_lead_out_of_reach() {
    let issuer = Issuer::start(testing::keys(&[Signer::generate().jwk("a")])).await;
    let port = reqwest::Url::parse(&issuer.url).unwrap().port().unwrap();
    let management = Reach {
        management: Some(([127, 0, 0, 1], port).into()),
        allow: None,
    };
    for host in [
        "127.0.0.1",
        "localhost",
        "0x7f000001",
        "2130706433",
        "127.1",
    ] {
        assert!(
            !gets_keys(&issuer, host, allowing("10.0.0.0/8")).await,
            "{host}"
        );
        assert!(
            !gets_keys(&issuer, host, management.clone()).await,
            "{host}"
        );
    }
    assert_eq!(issuer.fetches(), 0);
    for host in ["127.0.0.1", "localhost"] {
        assert!(
            gets_keys(&issuer, host, allowing("127.0.0.0/8")).await,
            "{host}"
        );
        assert!(gets_keys(&issuer, host, Reach::default()).await, "{host}");
    }
}

#[tokio::test]
async fn the_clouds_set_is_not_that_of_a_local_file() {
    let issuer = Issuer::start(testing::keys(&[Signer::generate().jwk("a")])).await;
    let shared = testing::shared();
    let _of_a_file = build(&shared, jwks_url(&issuer.url));
    let mut url = jwks_url(&issuer.url);
    url.reach = Some(Arc::new(allowing("10.0.0.0/8")));
    let _of_the_cloud = build(&shared, url);
    let status = shared.key_sets().refresh_all().await;
    let mut keys: Vec<usize> = status.iter().map(|set| set.keys).collect();
    keys.sort_unstable();
    assert_eq!((status.len(), keys[0]), (2, 0), "{status:?}");
    assert!(keys[1] > 0, "{status:?}");
}
