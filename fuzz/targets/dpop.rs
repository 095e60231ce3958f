//! Proofs of possession: none passes that its own key has not signed, or that is not what it says.
//!
//! The first byte of the input chooses: a whole proof as it comes; a header and claims (with a line
//! feed between) that a key signs, which the header may hold or not; or changes to a good proof,
//! each a place in two bytes and what to put there.

#![no_main]

use std::sync::OnceLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harmony::fuzzing::{Proven, dpop_proof};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fuzz_target!(|input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 3 {
        0 => {
            if let Some(proven) = dpop_proof(rest) {
                examine(rest, &proven);
            }
        }
        1 => {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            let proof = sign(&rest[..end], rest.get(end + 1..).unwrap_or_default());
            if let Some(proven) = dpop_proof(&proof) {
                examine(&proof, &proven);
                // Whatever the header says, the signature is this key's.
                let x = header(&proof)["jwk"]["x"].clone();
                assert_eq!(x, URL_SAFE_NO_PAD.encode(key().public_key()));
            }
        }
        _ => {
            let mut proof = good().to_vec();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % proof.len();
                proof[at] = change[2];
            }
            assert!(dpop_proof(&proof).is_none() || signed(&proof) == signed(good()));
        }
    }
});

/// Says by itself, with another parser, whether a proof may pass.
fn examine(proof: &[u8], proven: &Proven) {
    assert_eq!(proof.iter().filter(|byte| **byte == b'.').count(), 2);
    let header = header(proof);
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["alg"], proven.algorithm);
    assert!(ALGORITHMS.contains(&proven.algorithm));
    for name in ["crit", "b64", "zip", "enc", "cty"] {
        assert!(header.get(name).is_none(), "{name}");
    }
    let jwk = header["jwk"].as_object().expect("a key");
    assert!(PRIVATE.iter().all(|name| !jwk.contains_key(*name)));
    let claims = proof.split(|byte| *byte == b'.').nth(1).expect("claims");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims, proven.claims);
}

fn header(proof: &[u8]) -> Value {
    let header = proof.split(|byte| *byte == b'.').next().expect("a header");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    serde_json::from_slice(&header).expect("JSON")
}

/// Everything before the signature.
fn signed(proof: &[u8]) -> &[u8] {
    let end = proof.iter().rposition(|byte| *byte == b'.').unwrap_or(0);
    &proof[..end]
}

fn sign(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", encode(key().sign(message.as_bytes()).as_ref())).into_bytes()
}

/// Always the same, so that seeds can hold its public half.
fn key() -> &'static Ed25519KeyPair {
    static KEY: OnceLock<Ed25519KeyPair> = OnceLock::new();
    KEY.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed"))
}

fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let x = URL_SAFE_NO_PAD.encode(key().public_key());
        let header = format!(
            r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}}}"#
        );
        let proof = sign(header.as_bytes(), br#"{"htm":"GET","htu":"https://a.example/x"}"#);
        // Else nothing that is refused would mean anything.
        assert!(dpop_proof(&proof).is_some());
        proof
    })
}
