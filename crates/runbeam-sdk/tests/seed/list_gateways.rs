use runbeam_sdk::RunbeamClient;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
let client = RunbeamClient::new("https://runbeam.example.com");
// Works with JWT tokens, Sanctum tokens, or machine tokens
let token = "your_token_here";
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
