//! RSA public keys (RFC 7518 sections 3.3 and 3.5), and what makes one too weak.

use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use jsonwebtoken::DecodingKey;

use super::public::Material;
use super::{KeyError, roca};
use crate::Algorithm;

/// The algorithms of the family. The salt of PSS is as long as the hash.
pub(super) const ALGORITHMS: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

impl Material {
    /// Takes the big-endian modulus and exponent; leading zeros do not count.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa {
            modulus: without_leading_zeros(modulus).into(),
            exponent: without_leading_zeros(exponent).into(),
        }
    }
}

/// Examines a key, given without leading zeros.
pub(super) fn verifiers(
    modulus: &[u8],
    exponent: &[u8],
    only: Option<Algorithm>,
) -> Result<Vec<(Algorithm, ParsedPublicKey)>, KeyError> {
    let bits = modulus.first().map_or(0, |first| {
        modulus.len() * 8 - first.leading_zeros() as usize
    });
    if !(2048..=8192).contains(&bits) {
        return Err(KeyError::Size(bits));
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err(KeyError::EvenModulus);
    }
    match number(exponent) {
        Some(exponent) if exponent % 2 == 1 && (3..1 << 33).contains(&exponent) => {}
        _ => return Err(KeyError::Exponent),
    }
    if roca::looks_faulty(modulus) {
        return Err(KeyError::Roca);
    }
    let components = RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    let verifiers: Vec<_> = ALGORITHMS
        .into_iter()
        .filter(|(algorithm, _)| only.is_none_or(|only| only == *algorithm))
        .map(|(algorithm, parameters)| {
            let key = components.to_parsed_public_key(parameters);
            Ok((algorithm, key.map_err(|_| KeyError::Unreadable)?))
        })
        .collect::<Result<_, _>>()?;
    if verifiers.is_empty() {
        return Err(KeyError::Algorithm);
    }
    Ok(verifiers)
}

/// Reads a PEM file: `PUBLIC KEY` (RFC 5280) or `RSA PUBLIC KEY` (RFC 8017). `None`: it holds no
/// RSA public key.
pub(super) fn from_pem(pem: &[u8]) -> Option<Material> {
    let key = DecodingKey::from_rsa_pem(pem).ok()?;
    let (modulus, exponent) = rsa_public_key(key.try_get_as_bytes().ok()?)?;
    Some(Material::rsa(modulus, exponent))
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// A big-endian number. `None`: it does not fit.
fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017, appendix
/// A.1.1), whole.
fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    let (fields, after) = der_value(der, SEQUENCE)?;
    let (modulus, rest) = der_value(fields, INTEGER)?;
    let (exponent, rest) = der_value(rest, INTEGER)?;
    (after.is_empty() && rest.is_empty()).then_some((modulus, exponent))
}

/// The content of the first value, which has this tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (usize::try_from(number(length)?).ok()?, rest)
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_public_key_is_two_numbers_and_nothing_more() {
        let two: &[u8] = &[0x30, 6, 2, 1, 0x11, 2, 1, 3];
        assert_eq!(rsa_public_key(two), Some((&[0x11][..], &[3][..])));
        for wrong in [
            &[0x30, 6, 2, 1, 0x11, 2, 1, 3, 0][..],
            &[0x30, 9, 2, 1, 0x11, 2, 1, 3, 2, 1, 5],
            &[0x30, 9, 2, 1, 0x11, 2, 1, 3, 2, 1, 5, 0],
            &[0x30, 5, 2, 1, 0x11, 2, 1],
            &[0x31, 6, 2, 1, 0x11, 2, 1, 3],
            &[0x30, 3, 2, 1, 0x11],
            &[],
        ] {
            assert_eq!(rsa_public_key(wrong), None, "{wrong:x?}");
        }
    }

    #[test]
    fn lengths_in_both_forms() {
        assert_eq!(
            der_value(&[4, 2, 7, 8, 9], 4),
            Some((&[7, 8][..], &[9][..]))
        );
        assert_eq!(
            der_value(&[4, 0x82, 0, 1, 7, 9], 4),
            Some((&[7][..], &[9][..]))
        );
        assert_eq!(der_value(&[4, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1], 4), None);
        assert_eq!(der_value(&[4, 3, 7, 8], 4), None);
        assert_eq!(number(&[1, 1]), Some(257));
        assert_eq!(number(&[0xff, 0xff]), Some(65535));
        assert_eq!(number(&[1; 9]), None);
    }
}
