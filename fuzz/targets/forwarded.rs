//! An entry of `X-Forwarded-For`: what is taken for an address is one, in every dress, and the same
//! in all of them.

#![no_main]

use harmony::fuzzing::forwarded_address;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|entry: &[u8]| {
    let Some(address) = forwarded_address(entry) else {
        return;
    };
    assert_eq!(address, address.to_canonical());
    // It holds nothing but an address, a port and what is put around them.
    assert!(entry.iter().all(|byte| {
        byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'[' | b']' | b'"')
    }));
    let dresses = if address.is_ipv4() {
        [format!("{address}"), format!("{address}:1"), format!("\"{address}:65535\"")]
    } else {
        [format!("{address}"), format!("[{address}]:1"), format!("\"[{address}]:65535\"")]
    };
    for dress in dresses {
        assert_eq!(forwarded_address(dress.as_bytes()), Some(address), "{dress}");
    }
});
