//! The schemas of the crate `harmony-dsl`.

use super::*;

const PROXY: &str = "[proxy]\nid = 'gateway'\n";

#[test]
fn a_small_configuration_passes() {
    assert_eq!(validate_config_toml(PROXY), Ok(()));
}

#[test]
fn a_configuration_with_most_tables_passes() {
    let config = "
        [proxy]
        id = 'gateway'
        jwks_cache_duration_hours = 24
        required_env_vars = ['TOKEN']

        [proxy.content_limits]
        max_body_size = 1024
        max_xml_depth = 50

        [runbeam]
        enabled = true
        cloud_api_base_url = 'https://api.example.com'
        poll_interval_secs = 60

        [management]
        enabled = true
        network = 'management'

        [network.default]
        enable_wireguard = true
        interface = 'wg0'

        [network.management.tcp_config]
        bind_address = '127.0.0.1'
        bind_port = 9090

        [logging]
        log_level = 'info'

        [storage]
        backend = 'filesystem'
        options.path = './tmp'

        [targets.api]
        protocol = 'https'
        connection = { host = 'api.example.com', port = 443 }

        [services.http]
        module = ''
        type = ['endpoint', 'backend']

        [authentications.users]
        id = 'users'
        method = 'jwt'
        options.trusted_issuers = ['https://issuer.example.com']
    ";
    assert_eq!(validate_config_toml(config), Ok(()));
}

#[test]
fn a_configuration_is_checked_by_its_schema() {
    let found = |tables: &str| only(validate_config_toml(&format!("{PROXY}{tables}")));
    assert_eq!(only(validate_config_toml("[proxy]")), missing("proxy.id"));
    assert_eq!(only(validate_config_toml("")), missing("proxy"));
    assert_eq!(
        found("[management]\nenabled = true"),
        E::ConditionalRequirementFailed {
            field_path: "management.network".into(),
            condition: "enabled == true".into(),
        },
    );
    assert_eq!(
        found("[network.a.tcp_config]\nbind_address = 1\nbind_port = 80"),
        wrong_type("network.a.tcp_config.bind_address", "string", "integer"),
    );
    assert_eq!(
        found("jwks_cache_duration_hours = 200"),
        E::OutOfRange {
            field_path: "proxy.jwks_cache_duration_hours".into(),
            value: "200".into(),
            min: Some("1".into()),
            max: Some("168".into()),
        },
    );
    assert_eq!(
        found("[network.WRONG]"),
        mismatch("network.WRONG", "^[a-z0-9_-]+$")
    );
    let Err(E::Multiple(errors)) = validate_config_toml("[storage]\nbackend = 's3'") else {
        panic!("several fields are missing");
    };
    let conditional = |e: &&E| matches!(e, E::ConditionalRequirementFailed { .. });
    assert_eq!(errors.iter().filter(conditional).count(), 5);
    assert_eq!(errors.last(), Some(&missing("proxy")));
}

#[test]
fn a_pipeline_is_checked_by_its_schema() {
    let pipeline = "
        [pipelines.api]
        networks = ['default']
        endpoints = ['http']
        middleware = ['paths']
        backends = ['upstream']

        [endpoints.http]
        service = 'http'
        options.path_prefix = '/api'

        [middleware.paths]
        type = 'path_filter'
        options.rules = [{ allow = '/Patient/{id}' }, { deny = '*' }]

        [backends.upstream]
        service = 'http'
        options.base_url = 'http://127.0.0.1:3000'
    ";
    assert_eq!(validate_pipeline_toml(pipeline), Ok(()));
    assert_eq!(
        only(validate_pipeline_toml(
            &pipeline.replace("['default']", "[]")
        )),
        E::InvalidArrayLength {
            field_path: "pipelines.api.networks".into(),
            length: 0,
            min: Some(1),
            max: None,
        },
    );
    assert_eq!(
        validate_pipeline_toml("[pipelines.a]\n[endpoints.b]\n[backends.c]\n[middleware.d]"),
        Err(E::Multiple(vec![
            missing("backends.c.service"),
            missing("endpoints.b.service"),
            missing("middleware.d.type"),
            missing("pipelines.a.networks"),
            missing("pipelines.a.endpoints"),
            missing("pipelines.a.backends"),
        ])),
    );
}
