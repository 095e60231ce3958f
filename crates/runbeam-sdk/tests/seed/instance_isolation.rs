use runbeam_sdk::{save_token, load_token, clear_token, MachineToken};
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
