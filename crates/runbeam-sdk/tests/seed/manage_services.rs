use runbeam_sdk::RunbeamClient;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
let client = RunbeamClient::new("https://runbeam.example.com");
let token = "your_token_here";
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
