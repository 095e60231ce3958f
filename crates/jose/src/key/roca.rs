//! The test for keys of a faulty generator (ROCA, CVE-2017-15361), which can be factored.
//!
//! Their modulus is, modulo every small prime, a power of 65537. An honest modulus passes for one
//! with a chance below 1 in 10^27.

const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a big-endian modulus has the mark of the faulty generator.
pub(super) fn looks_faulty(modulus: &[u8]) -> bool {
    PRIMES
        .iter()
        .all(|prime| is_power_of_generator(remainder(modulus, *prime), *prime))
}

fn remainder(modulus: &[u8], prime: u32) -> u32 {
    modulus
        .iter()
        .fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % prime)
}

fn is_power_of_generator(value: u32, prime: u32) -> bool {
    let generator = 65537 % prime;
    let mut power = 1;
    loop {
        if power == value {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyError, Material, PublicKey};

    /// A power of 65537, big-endian. It has the mark by definition: it is a power of it modulo
    /// everything.
    fn marked(exponent: u32) -> Vec<u8> {
        let mut number = vec![1_u8];
        for _ in 0..exponent {
            let shifted = [&number[..], &[0, 0]].concat();
            let mut carry = 0;
            let mut sum = shifted;
            for (place, byte) in sum.iter_mut().rev().enumerate() {
                let addend = number.iter().rev().nth(place).copied().unwrap_or(0);
                let digit = u16::from(*byte) + u16::from(addend) + carry;
                *byte = digit.to_be_bytes()[1];
                carry = digit >> 8;
            }
            if carry > 0 {
                sum.insert(0, 1);
            }
            number = sum;
        }
        number
    }

    #[test]
    fn the_mark_is_seen_and_nothing_else() {
        assert_eq!(marked(2), [1, 0, 2, 0, 1]);
        for exponent in [1, 2, 64, 128, 129] {
            let mut number = marked(exponent);
            assert!(looks_faulty(&number), "65537^{exponent}");
            *number.last_mut().unwrap() += 2;
            assert!(!looks_faulty(&number), "65537^{exponent} + 2");
        }
        assert!(!looks_faulty(&[0xff; 256]));
    }

    #[test]
    fn no_such_key_is_taken() {
        let key = |modulus: &[u8]| PublicKey::new(Material::rsa(modulus, &[1, 0, 1]), None);
        let mut number = marked(128);
        assert_eq!(key(&number), Err(KeyError::Roca));
        *number.last_mut().unwrap() += 2;
        assert!(key(&number).is_ok());
    }

    #[test]
    fn powers_and_remainders() {
        assert_eq!(remainder(&[1, 0, 2, 0, 1], 167), 73 * 73 % 167);
        for (value, prime, is_power) in [
            (10, 11, true),
            (2, 11, false),
            (8, 17, true),
            (3, 17, false),
            (0, 17, false),
            (1, 167, true),
        ] {
            assert_eq!(
                is_power_of_generator(value, prime),
                is_power,
                "{value} modulo {prime}"
            );
        }
    }
}
