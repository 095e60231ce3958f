//! Writes the seeds that have to be signed: `cargo run --example seeds`, in `fuzz/`. The others are plain texts.

use harmony_fuzz::issuer::{self, Issuer, STEPS};

fn main() -> std::io::Result<()> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/token");
    std::fs::create_dir_all(&directory)?;
    let issuer = Issuer::new();
    for (index, step) in STEPS.iter().enumerate() {
        let (header, claims) = (issuer::header(step), issuer::CLAIMS);
        if ["ed", "hs"].contains(step) {
            let mut whole = vec![0];
            whole.extend(issuer.trusted.token(step, header.as_bytes(), claims.as_bytes()));
            std::fs::write(directory.join(format!("whole-{step}")), whole)?;
        }
        for (name, mode) in [("trusted", 1), ("strange", 2)] {
            let mode = u8::try_from(index << 2).unwrap_or_default() | mode;
            let mut parts = vec![mode];
            parts.extend(format!("{header}\n{claims}").as_bytes());
            std::fs::write(directory.join(format!("{name}-{step}")), parts)?;
        }
    }
    Ok(())
}
