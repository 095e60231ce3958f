//! The programs of the SDK's documentation, as they stand there but for addresses and tokens: they
//! compile, and they run.

#![allow(
    clippy::print_stdout,
    clippy::collapsible_if,
    reason = "what the documentation shows is shown here as it is there"
)]

use std::process::Command;

use serde_json::json;

use crate::support::wire::find;
use crate::support::{Cloud, secrets};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// "List Gateways".
async fn list_gateways(url: &str, token: &str) -> Outcome {
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

/// "Using JWT Tokens".
async fn using_jwt_tokens(user_token: &str) -> Outcome {
    use runbeam_sdk::{MachineToken, RunbeamClient, load_token, save_token, validate_jwt_token};

    // Validate user JWT token
    let claims = validate_jwt_token(user_token, 24).await?;

    // Create API client
    let client = RunbeamClient::new(claims.api_base_url());

    // Authorize gateway and get machine token
    let response = client.authorize_gateway(user_token, "gateway-123", None, None).await?;

    // Save machine token securely (automatic storage selection)
    let instance_id = "my-gateway"; // Unique identifier for this instance
    let machine_token = MachineToken::new(
        response.machine_token,
        response.expires_at,
        response.gateway.id,
        response.gateway.code,
        response.abilities,
    );

    save_token(instance_id, &machine_token).await?;

    // Load token later
    if let Some(token) = load_token(instance_id).await? {
        if token.is_valid() {
            println!("Token valid until: {}", token.expires_at);
        }
    }
    Ok(())
}

/// "Using Runbeam Tokens".
async fn using_runbeam_tokens(url: &str) -> Outcome {
    use runbeam_sdk::{MachineToken, RunbeamClient, save_token};

    // Create API client with base URL
    let client = RunbeamClient::new(url);

    // Authorize gateway with Sanctum token (no validation needed)
    // Sanctum tokens have the format: {id}|{plaintext_token}
    let sanctum_token = "1|abc123def456...";
    let response = client.authorize_gateway(sanctum_token, "gateway-123", None, None).await?;

    // Save machine token securely (automatic storage selection)
    let instance_id = "my-gateway"; // Unique identifier for this instance
    let machine_token = MachineToken::new(
        response.machine_token,
        response.expires_at,
        response.gateway.id,
        response.gateway.code,
        response.abilities,
    );

    save_token(instance_id, &machine_token).await?;
    Ok(())
}

/// "Instance Isolation".
async fn instance_isolation(token: runbeam_sdk::MachineToken) -> Outcome {
    use runbeam_sdk::{clear_token, load_token, save_token};

    // Each instance_id gets separate storage at ~/.runbeam/<instance_id>/
    let instance_id = "harmony-production";

    // Save token
    save_token(instance_id, &token).await?;

    // Load token
    if let Some(token) = load_token(instance_id).await? {
        println!("Loaded token for gateway: {}", token.gateway_code);
    }

    // Clear token
    clear_token(instance_id).await?;
    Ok(())
}

#[tokio::test]
async fn the_programs_about_resources_run() {
    let cloud = Cloud::start();
    let resource = |id: &str, kind: &str| {
        json!({ "id": id, "code": id, "name": "N", "type": kind,
        "gateway_id": "gateway-123", "enabled": true })
    };
    cloud.add("gateways", resource("gateway-123", "gateway"));
    cloud.add("services", resource("service-456", "http"));
    for token in ["your_token_here", "1|abc123def456"] {
        list_gateways(&cloud.url(), token).await.unwrap();
        manage_services(&cloud.url(), token).await.unwrap();
        download_full_configuration(&cloud.url(), token).await.unwrap();
    }
}

/// They read the environment, which a test must not change: so this very test runs once more in a
/// process of its own.
#[test]
fn the_programs_with_a_token_store_run() {
    const TOKEN: &str = "HARMONY_TEST_USER_TOKEN";
    if let Ok(token) = std::env::var(TOKEN) {
        let url = std::env::var("RUNBEAM_API_URL").unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(run_with_a_token_store(&url, &token));
    }
    let cloud = Cloud::start();
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "runbeam_sdk::seed::the_programs_with_a_token_store_run",
        "--nocapture",
    ]);
    child
        .env("RUNBEAM_API_URL", format!("{}/api", cloud.url()))
        .env(TOKEN, cloud.user_token().sign());
    // Nobody's keyring, and nobody's files.
    child
        .env("HOME", home.path())
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
        .env_remove("XDG_RUNTIME_DIR");
    for name in ["RUNBEAM_ENCRYPTION_KEY", "RUNBEAM_MACHINE_TOKEN", "RUNBEAM_JWT_SECRET"] {
        child.env_remove(name);
    }
    let output = child.output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(
        out.contains("Token valid until: ")
            && out.contains("Loaded token for gateway: gateway-123"),
        "{out}"
    );
    assert_eq!((cloud.issued_tokens().len(), cloud.requests_to("jwks").len()), (2, 1));
    assert_eq!(secrets::leak_in(&output.stdout).or(secrets::leak_in(&output.stderr)), None);
    let kept = std::fs::read(home.path().join(".runbeam/my-gateway/auth.json")).unwrap();
    assert!(
        cloud.issued_tokens().iter().all(|token| find(&kept, token.as_bytes()).is_none()),
        "never unencrypted on disk"
    );
}

async fn run_with_a_token_store(url: &str, user_token: &str) {
    using_jwt_tokens(user_token).await.unwrap();
    let kept = runbeam_sdk::load_token("my-gateway").await.unwrap().unwrap();
    using_runbeam_tokens(url).await.unwrap();
    let replaced = runbeam_sdk::load_token("my-gateway").await.unwrap().unwrap();
    assert_ne!(kept.machine_token, replaced.machine_token);
    instance_isolation(replaced.clone()).await.unwrap();
    assert_eq!(runbeam_sdk::load_token("harmony-production").await.unwrap(), None);
    assert_eq!(runbeam_sdk::load_token("my-gateway").await.unwrap(), Some(replaced));
}
