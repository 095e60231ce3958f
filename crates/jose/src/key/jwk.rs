//! One key in JSON (RFC 7517 section 4; RFC 7518 section 6 and RFC 8037 section 2 for the
//! families).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::curve::Curve;
use super::public::Material;
use super::{KeyError, PublicKey};
use crate::Algorithm;

type Jwk = Map<String, Value>;

/// Members of private and of symmetric keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl PublicKey {
    /// Reads a key. Every member that says what it is for must allow verifying, and `alg` must be
    /// an algorithm of its family.
    pub(crate) fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let (material, only) = read(jwk)?;
        Self::new(material, only)
    }

    /// The same for one algorithm, which `alg` must not contradict.
    pub(crate) fn from_jwk_for(jwk: &Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        let (material, only) = read(jwk)?;
        if only.is_some_and(|only| only != algorithm) {
            return Err(KeyError::Algorithm);
        }
        Self::new(material, Some(algorithm))
    }

    /// The SHA-256 of what makes the key, in JSON, in the order of the names (RFC 7638 section 3).
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let text = match self.material() {
            Material::Rsa { modulus, exponent } => {
                let (n, e) = (encode(modulus), encode(exponent));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
            Material::Ec { curve, x_and_y } => {
                let (x, y) = x_and_y.split_at(curve.coordinate_bytes());
                let (crv, x, y) = (curve.name(), encode(x), encode(y));
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Material::Ed25519(point) => {
                let x = encode(point);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
        };
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        thumbprint
    }

    /// The key as JSON, once for its whole family, or once for each algorithm that it serves:
    /// public, and nothing but what [`PublicKey::from_jwk`] looks at.
    pub(crate) fn to_jwks(&self, kid: Option<&str>) -> Vec<Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self.material() {
            Material::Rsa { modulus, exponent } => {
                json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
            }
            Material::Ec { curve, x_and_y } => {
                let (x, y) = x_and_y.split_at(curve.coordinate_bytes());
                json!({ "kty": "EC", "crv": curve.name(), "x": encode(x), "y": encode(y) })
            }
            Material::Ed25519(point) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(point) })
            }
        };
        jwk["use"] = json!("sig");
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        if self.serves_its_family() && self.algorithms().nth(1).is_some() {
            return vec![jwk];
        }
        let named = |algorithm: Algorithm| {
            let mut jwk = jwk.clone();
            jwk["alg"] = json!(algorithm.name());
            jwk
        };
        self.algorithms().map(named).collect()
    }
}

/// What a key is made of, and the one algorithm that it says it is for.
fn read(jwk: &Jwk) -> Result<(Material, Option<Algorithm>), KeyError> {
    let material = match text(jwk, "kty")? {
        Some("RSA") => rsa,
        Some("EC") => ec,
        Some("OKP") => okp,
        Some("oct") => return Err(KeyError::Symmetric),
        Some(_) => return Err(KeyError::OtherType),
        None => return Err(KeyError::Malformed),
    };
    if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err(KeyError::Private);
    }
    text(jwk, "kid")?;
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyError::Use);
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations))
            if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return Err(KeyError::Operations),
    }
    let only = match text(jwk, "alg")? {
        None => None,
        Some(name) => Some(Algorithm::named(name).ok_or(KeyError::Algorithm)?),
    };
    Ok((material(jwk)?, only))
}

fn rsa(jwk: &Jwk) -> Result<Material, KeyError> {
    Ok(Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?))
}

fn ec(jwk: &Jwk) -> Result<Material, KeyError> {
    let name = text(jwk, "crv")?.ok_or(KeyError::Malformed)?;
    let curve = Curve::named(name).ok_or(KeyError::Curve)?;
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if [&x, &y]
        .iter()
        .any(|bytes| bytes.len() != curve.coordinate_bytes())
    {
        return Err(KeyError::Malformed);
    }
    let x_and_y = [x, y].concat().into();
    Ok(Material::Ec { curve, x_and_y })
}

fn okp(jwk: &Jwk) -> Result<Material, KeyError> {
    match text(jwk, "crv")? {
        Some("Ed25519") => {}
        Some(_) => return Err(KeyError::Curve),
        None => return Err(KeyError::Malformed),
    }
    let point = bytes(jwk, "x")?.try_into();
    point
        .map(Material::Ed25519)
        .map_err(|_| KeyError::Malformed)
}

/// A member in base64url, strict, which has to be there.
fn bytes(jwk: &Jwk, name: &str) -> Result<Vec<u8>, KeyError> {
    URL_SAFE_NO_PAD
        .decode(text(jwk, name)?.ok_or(KeyError::Malformed)?)
        .map_err(|_| KeyError::Malformed)
}

/// A member that must be a string if it is there.
fn text<'a>(jwk: &'a Jwk, name: &str) -> Result<Option<&'a str>, KeyError> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyError::Malformed),
    }
}
