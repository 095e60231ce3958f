use runbeam_sdk::RunbeamClient;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
let client = RunbeamClient::new("https://runbeam.example.com");
let token = "your_token_here";
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
