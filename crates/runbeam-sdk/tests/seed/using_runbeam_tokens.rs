use runbeam_sdk::{
RunbeamClient,
save_token,
load_token,
MachineToken,
};
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
// Create API client with base URL
let client = RunbeamClient::new("https://api.runbeam.io");
// Authorize gateway with Sanctum token (no validation needed)
// Sanctum tokens have the format: {id}|{plaintext_token}
let sanctum_token = "1|abc123def456...";
let response = client.authorize_gateway(
sanctum_token,
"gateway-123",
None,
None
).await?;
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
