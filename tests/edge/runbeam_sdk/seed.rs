//! The programs of the SDK's documentation, as they stand there but for addresses and tokens: they compile, and they run.

use std::process::Command;

use crate::support::{Cloud, secrets};
use serde_json::json;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// "List Gateways".
async fn list_gateways(url: &str, token: &str) -> Outcome {
    use harmony::runbeam as runbeam_sdk;
    use runbeam_sdk::RunbeamClient;

    let client = RunbeamClient::new(url);

    // List all gateways
    let gateways = client.list_gateways(token).await?;
    for gateway in gateways.data {
        println!("Gateway: {} ({})", gateway.name, gateway.code);
    }

    // Get specific gateway
    let gateway = client.get_gateway(token, "gateway-123").await?;
    println!("Gateway enabled: {}", gateway.data.enabled);
    Ok(())
}

/// "Manage Services".
async fn manage_services(url: &str, token: &str) -> Outcome {
    use harmony::runbeam as runbeam_sdk;
    use runbeam_sdk::RunbeamClient;

    let client = RunbeamClient::new(url);

    // List all services
    let services = client.list_services(token).await?;
    for service in services.data {
        println!("Service: {} on gateway {}", service.name, service.gateway_id);
    }

    // Get specific service
    let service = client.get_service(token, "service-456").await?;
    println!("Service type: {}", service.data.service_type);
    Ok(())
}

/// "Download Full Configuration".
async fn download_full_configuration(url: &str, token: &str) -> Outcome {
    use harmony::runbeam as runbeam_sdk;
    use runbeam_sdk::RunbeamClient;

    let client = RunbeamClient::new(url);

    // Fetch all configuration resources
    let endpoints = client.list_endpoints(token).await?;
    let backends = client.list_backends(token).await?;
    let pipelines = client.list_pipelines(token).await?;

    // Use the data to configure harmony-proxy
    println!("Endpoints: {}", endpoints.data.len());
    println!("Backends: {}", backends.data.len());
    println!("Pipelines: {}", pipelines.data.len());
    Ok(())
}

/// "Using JWT Tokens", up to the token store.
async fn using_jwt_tokens(user_token: &str) -> Outcome {
    use harmony::runbeam as runbeam_sdk;
    use runbeam_sdk::{MachineToken, RunbeamClient, validate_jwt_token};

    // Validate user JWT token
    let claims = validate_jwt_token(user_token, 24).await?;

    // Create API client
    let client = RunbeamClient::new(claims.api_base_url());

    // Authorize gateway and get machine token
    let response = client.authorize_gateway(user_token, "gateway-123", None, None).await?;

    let machine_token = MachineToken::new(response.machine_token, response.expires_at, response.gateway.id, response.gateway.code, response.abilities);

    if machine_token.is_valid() {
        println!("Token valid until: {}", machine_token.expires_at);
    }
    Ok(())
}

/// "Using Runbeam Tokens", up to the token store.
async fn using_runbeam_tokens(url: &str, sanctum_token: &str) -> Outcome {
    use harmony::runbeam as runbeam_sdk;
    use runbeam_sdk::{MachineToken, RunbeamClient};

    // Create API client with base URL
    let client = RunbeamClient::new(url);

    // Authorize gateway with Sanctum token (no validation needed)
    let response = client.authorize_gateway(sanctum_token, "gateway-123", None, None).await?;

    let machine_token = MachineToken::new(response.machine_token, response.expires_at, response.gateway.id, response.gateway.code, response.abilities);
    assert!(machine_token.is_valid());
    Ok(())
}

#[tokio::test]
async fn the_programs_about_resources_run() {
    let cloud = Cloud::start();
    let resource = |id: &str, kind: &str| json!({ "id": id, "code": id, "name": "N", "type": kind, "gateway_id": "gateway-123", "enabled": true });
    cloud.add("gateways", resource("gateway-123", "gateway"));
    cloud.add("services", resource("service-456", "http"));
    for token in ["your_token_here", "1|abc123def456"] {
        list_gateways(&cloud.url(), token).await.unwrap();
        manage_services(&cloud.url(), token).await.unwrap();
        download_full_configuration(&cloud.url(), token).await.unwrap();
    }
}

#[tokio::test]
async fn the_program_with_a_runbeam_token_runs() {
    let cloud = Cloud::start();
    using_runbeam_tokens(&cloud.url(), "1|abc123def456...").await.unwrap();
    assert_eq!(cloud.issued_tokens().len(), 1);
}

/// It reads the environment, which a test must not change: so this very test runs once more in a process of its own.
#[test]
fn the_program_with_a_jwt_runs() {
    const TOKEN: &str = "HARMONY_TEST_USER_TOKEN";
    if let Ok(token) = std::env::var(TOKEN) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(using_jwt_tokens(&token)).unwrap();
        return;
    }
    let cloud = Cloud::start();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "runbeam_sdk::seed::the_program_with_a_jwt_runs", "--nocapture"]);
    child.env("RUNBEAM_API_URL", format!("{}/api", cloud.url())).env(TOKEN, cloud.user_token().sign());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!((cloud.issued_tokens().len(), cloud.requests_to("jwks").len()), (1, 1));
    assert_eq!(secrets::leak_in(&output.stdout).or(secrets::leak_in(&output.stderr)), None);
}
