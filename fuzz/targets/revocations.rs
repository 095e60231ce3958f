//! The log of revocations: what is read is read again, and what a crash left behind is only ever
//! cut off at the end.
#![no_main]

use harmony::fuzzing::revocation_log;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok((records, torn_at, written)) = revocation_log(data) else { return };
    let again = revocation_log(&written).expect("what was written");
    assert_eq!((&again.0, again.1), (&records, None));
    if let Some(torn_at) = torn_at {
        assert!(torn_at < data.len());
        let whole = revocation_log(&data[..torn_at]).expect("what is whole");
        assert_eq!((&whole.0, whole.1), (&records, None));
    }
});
